"""Settings of Django and of the product, from the checked environment (env.py). The other modules here have a subject each."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from aiagents.core import private_files
from aiagents.settings.env import ROOT, env

# Files under DATA_DIR are readable by their system user only. Migrations are part of the source.
if sys.argv[1:2] != ["makemigrations"]:
    os.umask(private_files.UMASK)
BASE_DIR = ROOT
DATA_DIR = env.data_dir.resolve()
ENVIRONMENT: str = env.environment
DEBUG = env.debug
HOST, PORT, WEB_PROCESSES = env.host, env.port, env.web_processes
SITE_URL = env.site_url or f"http://{'localhost' if HOST in {'0.0.0.0', '127.0.0.1'} else HOST}:{PORT}"
VERSION = "0.1.0"


def _secret_key() -> str:
    """The configured key; in development a generated one that is stored under DATA_DIR."""
    if env.secret_key:
        return env.secret_key.get_secret_value()
    if ENVIRONMENT == "production":
        raise ImproperlyConfigured("SECRET_KEY must be set in production (50 or more random characters).")
    path = DATA_DIR / "secret-key"
    if not path.exists():
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # another process created it first
            private_files.write_new(path, secrets.token_urlsafe(64))
    return path.read_text().strip()


SECRET_KEY = _secret_key()
ENCRYPTION_KEYS = env.encryption_keys
ALLOWED_HOSTS = env.allowed_hosts
CSRF_TRUSTED_ORIGINS = [*env.csrf_trusted_origins, SITE_URL]
CORS_ALLOWED_ORIGINS = env.cors_allowed_origins
CORS_EXPOSE_HEADERS = ["X-Request-ID", "Idempotent-Replayed", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]
CORS_ALLOW_HEADERS = [
    "accept", "authorization", "content-encoding", "content-type", "idempotency-key", "last-event-id", "user-agent", "x-api-key", "x-goog-api-client", "x-goog-api-key", "x-csrftoken", "x-request-id", "x-requested-with",
]  # fmt: skip
WEBSOCKET_ORIGINS = env.websocket_origins
TRUSTED_PROXIES = env.trusted_proxies

INSTALLED_APPS = [
    "daphne",
    "unfold.apps.BasicAppConfig",
    "aiagents.admin_apps.OfficeConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "csp",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "aiagents",
    "aiagents.monitoring",
    "accounts",
    "billing",
    "agents",
    "chat",
    "tasks",
]
MIDDLEWARE = [
    "aiagents.core.http.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "aiagents.core.http.middleware.ApiRateLimitMiddleware",
    "aiagents.core.http.middleware.UnpackingMiddleware",
]
ROOT_URLCONF = "aiagents.urls"
ASGI_APPLICATION = "aiagents.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ]
        },
    }
]

# --- Limits of requests -------------------------------------------------------------------------
RATE_LIMIT_REQUESTS, RATE_LIMIT_WINDOW = env.rate_limit_requests, env.rate_limit_window
# Role -> requests per window, if they differ from RATE_LIMIT_REQUESTS. Requests without a credential have the role `anonymous`.
RATE_LIMIT_ROLES = {
    role: limit for role, limit in (("admin", env.rate_limit_admin_requests), ("anonymous", env.rate_limit_anonymous_requests)) if limit
}
RATE_LIMIT_IP_REQUESTS = env.rate_limit_ip_requests
MAX_BODY_BYTES = env.max_body_bytes
MAX_FRAME_BYTES = 256 * 1024
MAX_EXPANDED_CHARACTERS = env.max_expanded_characters
MAX_PROMPT_CHARACTERS = env.max_prompt_characters
MAX_JSON_DEPTH = 100
# Values in one JSON body, counted before it is parsed; in one WebSocket frame, of which 20 per second are allowed.
MAX_JSON_VALUES = 20_000
MAX_FRAME_VALUES = 4_000
# Values in a body of the compatible APIs, whose clients send whole conversations: about 20,000 messages.
MAX_PROMPT_VALUES = 60_000
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
DRAIN_SECONDS = env.drain_seconds
# If off, principals, models, connections and messages are read from the database each time.
CACHE_ENABLED = env.cache_enabled

# --- Money --------------------------------------------------------------------------------------
BUDGET_TIME_ZONE = env.budget_time_zone
MONTHLY_COST_LIMIT = env.monthly_cost_limit
NEW_USER_MONTHLY_LIMIT = env.new_user_monthly_limit
# Seconds after which a process checks whether the catalogue changed, and after which it reloads it in any case.
CATALOGUE_CHECK_SECONDS, CATALOGUE_RELOAD_SECONDS = 1.0, 5.0
# Seconds that closed holds are kept: a late settlement then still gets the first charge.
HOLD_KEEP_SECONDS = 86400
# Days that hourly rollups are kept; daily rollups are kept for ever.
ROLLUP_HOURS_KEPT_DAYS = 92
# Percent of a budget's limit at which people get an alert, unless they chose others.
BUDGET_ALERT_THRESHOLDS = (50, 80, 100)

# --- Tasks --------------------------------------------------------------------------------------
TASKS_PER_USER, TASK_RUNS_PER_USER, TASK_RUNS_PER_PROCESS = env.tasks_per_user, env.task_runs_per_user, env.task_runs_per_process
# Seconds without a heartbeat after which a task run is taken from its worker.
TASK_SILENCE_SECONDS = 15
# A missed scheduled run is caught up on once if it is at most this many seconds late; an older one is skipped.
TASK_CATCH_UP_SECONDS = 3600
TASK_MIN_INTERVAL_SECONDS = 60
TASK_MAX_SECONDS = 3600
# Seconds after which a queued run whose message was lost is sent again.
TASK_REQUEUE_SECONDS = 30
TASK_DRAIN_SECONDS = env.task_drain_seconds
WEBHOOK_TIMEOUT_SECONDS = 10
WEBHOOK_ALLOW_PRIVATE_ADDRESS = env.webhook_allow_private_address

# --- Logs and metrics ---------------------------------------------------------------------------
# Days that the system's figures are kept per minute, and per hour.
METRICS_DETAIL_DAYS, METRICS_KEPT_DAYS = 7, 400
# Web processes and workers write their metrics to files here, and /metrics adds them up. Set before prometheus_client is imported.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(DATA_DIR / "metrics"))
METRICS_TOKEN = env.metrics_token.get_secret_value() if env.metrics_token else ""
METRICS_NETWORKS = env.metrics_networks
LOG_LEVEL, LOG_FORMAT, LOG_FILE = env.log_level, env.log_format, env.log_file
LOGGING_CONFIG = "aiagents.core.logs.formatting.configure"
LOGGING: dict = {
    "level": LOG_LEVEL, "format": LOG_FORMAT, "file": LOG_FILE, "file_bytes": env.log_file_bytes, "files_kept": env.log_files_kept
}  # fmt: skip

Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(parents=True, exist_ok=True)
