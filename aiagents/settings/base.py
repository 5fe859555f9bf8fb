"""Settings of Django, DRF, Channels and Celery, from the checked environment (env.py)."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from celery.schedules import crontab
from csp.constants import NONCE
from django.core.exceptions import ImproperlyConfigured
from kombu import Queue
from whitenoise.compress import Compressor

from aiagents.core import private_files
from aiagents.settings import exposure
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
    "accept", "authorization", "content-type", "idempotency-key", "last-event-id", "user-agent", "x-api-key", "x-csrftoken", "x-request-id", "x-requested-with",
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

# --- Database -----------------------------------------------------------------------------------
EMBEDDED_POSTGRES = not env.database_url
EMBEDDED_VALKEY = not env.redis_url
SQLITE_OPTIONS = {
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
}


def database(url: str) -> dict:
    """A Django database from `postgres://user:pass@host:port/name?host=/socket` or `sqlite:///path`."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":  # sqlite:///relative/to/the/project or sqlite:////absolute
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / parts.path[1:], "OPTIONS": SQLITE_OPTIONS}
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with postgres:// or sqlite:///")
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    host = unquote(query.pop("host", parts.hostname or ""))
    # A pool and no CONN_MAX_AGE: under ASGI each request has another thread, so persistent connections would leak.
    options: dict[str, Any] = {"pool": {"min_size": 1, "max_size": env.database_pool_size, "timeout": 10}}
    # Detects a dead server or network within half a minute; libpq alone would wait for hours. Unix sockets ignore these options.
    options |= {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
    options |= {key: unquote(value) for key, value in query.items()}
    return {
        "ENGINE": "aiagents.core.db.postgres",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 0,
        "OPTIONS": options,
    }


def _embedded_database_url() -> str:
    from aiagents.local import embedded  # only computes the address; it starts no server

    return embedded.database_url(DATA_DIR)


def _embedded_redis_url() -> str:
    from aiagents.local import embedded

    return embedded.redis_url(DATA_DIR)


DATABASE_URL = env.database_url or _embedded_database_url()
REDIS_URL = env.redis_url or _embedded_redis_url()
DATABASES = {"default": database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASE_PREPARE = env.database_prepare
# Threads for the database calls of asynchronous endpoints; each keeps one pooled connection.
DB_THREADS = 6

# Seconds that a caller waits for a Valkey that hangs.
_CACHE_OPTIONS = {"socket_timeout": 2.0, "socket_connect_timeout": 0.5}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "OPTIONS": _CACHE_OPTIONS}}
# W001: django-ratelimit does not list the built-in Redis cache, which works. W008: the proxy redirects to HTTPS and terminates TLS.
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.W001", "security.W008"]
CHANNEL_LAYERS = {
    "default": {"BACKEND": "aiagents.core.live.channel_layer.ChannelLayer", "CONFIG": {"hosts": [REDIS_URL], "capacity": 1000}}
}


# --- Celery -------------------------------------------------------------------------------------
def broker(url: str) -> str:
    """REDIS_URL in kombu's form. With `?db=3` kombu would crash over TCP and use database 0 over a socket."""
    parts = urlsplit(url)
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    number = query.pop("db", "")
    if parts.scheme == "unix":
        query |= {"virtual_host": number} if number else {}
        return f"redis+socket://{parts.path}" + ("?" + "&".join(f"{key}={value}" for key, value in query.items()) if query else "")
    rest = "?" + "&".join(f"{key}={value}" for key, value in query.items()) if query else ""
    return f"{parts.scheme}://{parts.netloc}{'/' + number if number else parts.path}{rest}"


CELERY_BROKER_URL = broker(REDIS_URL)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A Valkey whose disk is full refuses writes (MISCONF); a worker then retries as for an unreachable one, instead of exiting.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
# Seconds. Without these time-outs a hanging broker blocks its senders, and workers do not notice it.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900, "unacked_restore_interval": 10, "socket_timeout": 2.0, "socket_connect_timeout": 1.0, "socket_keepalive": True,
}  # fmt: skip
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_BEAT_SCHEDULER = "aiagents.beat:Scheduler"
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Separate queues, so that sweeps and schedules never wait for long tasks; a worker without -Q serves all of them.
CELERY_TASK_QUEUES = [Queue("celery"), Queue("housekeeping"), Queue("tasks")]
CELERY_TASK_DEFAULT_QUEUE = "celery"
CELERY_TASK_ROUTES = {
    f"{app}.tasks.sweep_*": {"queue": "housekeeping"} for app in ("accounts", "billing", "agents", "chat", "tasks", "aiagents")
} | {
    "tasks.tasks.tick_schedules": {"queue": "housekeeping"},
    "tasks.tasks.run_task": {"queue": "tasks"},
    "tasks.tasks.deliver_webhook": {"queue": "tasks"},
    "aiagents.monitoring.tasks.sample": {"queue": "housekeeping"},
    "aiagents.monitoring.tasks.sweep_*": {"queue": "housekeeping"},
}
CELERY_BEAT_SCHEDULE = {
    "heartbeat": {"task": "aiagents.monitoring.tasks.heartbeat", "schedule": 10.0},
    "sweep-holds": {"task": "billing.tasks.sweep_holds", "schedule": 10.0},
    "update-catalogue": {"task": "billing.tasks.update_catalogue", "schedule": 86400.0},
    "sweep-rollups": {"task": "billing.tasks.sweep_rollups", "schedule": crontab(), "options": {"expires": 50}},
    "verify-rollups": {"task": "billing.tasks.verify_rollups", "schedule": crontab(hour=3, minute=17)},
    "sweep-alerts": {"task": "billing.tasks.sweep_alerts", "schedule": 60.0, "options": {"expires": 50}},
    "prune-holds": {"task": "billing.tasks.prune_holds", "schedule": 3600.0},
    "sweep-turns": {"task": "chat.tasks.sweep_turns", "schedule": 10.0},
    "sweep-deleted": {"task": "chat.tasks.sweep_deleted", "schedule": 60.0, "options": {"expires": 50}},
    "sweep-deleted-agents": {"task": "agents.tasks.sweep_deleted", "schedule": 60.0, "options": {"expires": 50}},
    "sweep-deleted-tasks": {"task": "tasks.tasks.sweep_deleted", "schedule": 60.0, "options": {"expires": 50}},
    "weigh-feedback": {"task": "chat.tasks.weigh_feedback", "schedule": 3600.0},
    "sweep-runs": {"task": "agents.tasks.sweep_runs", "schedule": 10.0},
    "tick-schedules": {"task": "tasks.tasks.tick_schedules", "schedule": 2.0, "options": {"expires": 10}},
    "sweep-task-runs": {"task": "tasks.tasks.sweep_runs", "schedule": 5.0, "options": {"expires": 30}},
    "sweep-mails": {"task": "accounts.tasks.sweep_mails", "schedule": 60.0, "options": {"expires": 50}},
    "sweep-sessions": {"task": "accounts.tasks.sweep_sessions", "schedule": 3600.0},
    "sweep-idempotency": {"task": "aiagents.tasks.sweep_idempotency", "schedule": 3600.0},
    # At the full minute: it stores the figures of the previous minute.
    "sample-metrics": {"task": "aiagents.monitoring.tasks.sample", "schedule": crontab(), "options": {"expires": 50}},
    "sweep-metrics": {"task": "aiagents.monitoring.tasks.sweep_metrics", "schedule": 3600.0},
} | {
    f"heartbeat-{queue.name}": {"task": "aiagents.monitoring.tasks.heartbeat", "schedule": 10.0, "args": (queue.name,), "options": {"queue": queue.name}}
    for queue in CELERY_TASK_QUEUES if queue.name != CELERY_TASK_DEFAULT_QUEUE
}  # fmt: skip
# Days that the system's figures are kept per minute, and per hour.
METRICS_DETAIL_DAYS, METRICS_KEPT_DAYS = 7, 400

# --- Accounts -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
# SHA-256 first: bcrypt alone ignores bytes after the 72nd, and bcrypt 5 raises for them.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.BCryptSHA256PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ["email", "name"]},
    },
    {"NAME": "accounts.sign_in.passwords.NoEmailInsideValidator"},
    {"NAME": "accounts.sign_in.published_passwords.NotPublishedValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=env.access_token_expire_minutes),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.refresh_token_days),
    "USER_ID_CLAIM": "sub",
    "TOKEN_TYPE_CLAIM": "typ",
    "ALGORITHM": "HS256",
    "SIGNING_KEY": SECRET_KEY,
    "ISSUER": "aiagents",
    "AUDIENCE": "aiagents",
}
REFRESH_GRACE_SECONDS = env.refresh_grace_seconds
# Seconds for which a link to set a password is valid (Django's setting).
PASSWORD_RESET_TIMEOUT = env.password_reset_minutes * 60
# Sign-in attempts: from one address; for one account from one address.
LOGIN_LIMIT_IP, LOGIN_LIMIT_ACCOUNT = env.login_limit_ip, env.login_limit_account
# Attempts for one account from all addresses that never signed in to it, against password guessing from many machines.
LOGIN_LIMIT_STRANGERS = "100/h"
REGISTER_LIMIT_IP = "20/h"
# The policy for self-registration: open, invite, domains (of REGISTRATION_DOMAINS) or closed.
_LOCAL = not exposure.why_reachable(ENVIRONMENT, HOST, SITE_URL, ALLOWED_HOSTS, TRUSTED_PROXIES)
REGISTRATION = env.registration or ("open" if _LOCAL else "invite")
REGISTRATION_DOMAINS = env.registration_domains
# Django's backend with the same limits, for the admin's login page.
AUTHENTICATION_BACKENDS = ["accounts.sign_in.service.LimitedBackend"]

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

# --- E-mail -------------------------------------------------------------------------------------


def email(url: str) -> dict[str, Any]:
    """Parse `smtp://user:password@host:587` (STARTTLS) or `smtps://…` for Django's settings; without a URL, the console."""
    if not url:
        return {"backend": "console", "host": "localhost", "port": 25, "user": "", "password": "", "ssl": False, "tls": False}
    parts = urlsplit(url)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise ImproperlyConfigured("EMAIL_URL must begin with smtp://host or smtps://host")
    ssl = parts.scheme == "smtps"
    return {
        "backend": "smtp",
        "host": parts.hostname,
        "port": parts.port or (465 if ssl else 587),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "ssl": ssl,
        "tls": not ssl and "starttls=off" not in parts.query,
    }


_EMAIL = email(env.email_url.get_secret_value() if env.email_url else "")
EMAIL_BACKEND = f"django.core.mail.backends.{_EMAIL['backend']}.EmailBackend"
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = (_EMAIL[name] for name in ("host", "port", "user", "password"))
EMAIL_USE_SSL, EMAIL_USE_TLS = _EMAIL["ssl"], _EMAIL["tls"]
# Time-out of the mail server in seconds.
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.email_from

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

# --- API ----------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.BrowsableSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["aiagents.core.drf.base.JSONRenderer", "aiagents.core.drf.base.BrowsableAPIRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "aiagents.core.drf.base.StrictJSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_PAGINATION_CLASS": "aiagents.core.drf.base.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.SearchFilter",
        "aiagents.core.drf.base.SafeOrderingFilter",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["aiagents.core.drf.throttling.ApiThrottle"],
    "EXCEPTION_HANDLER": "aiagents.core.drf.base.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "aiagents.core.drf.schema.AutoSchema",
    "PAGE_SIZE": 25,
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "aiagents",
    "DESCRIPTION": "Accounts, routed chat, exact costs, agents and tasks in front of every model vendor.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    # Choices are inlined: as components, the many fields named "status" and "role" would need different names.
    "POSTPROCESSING_HOOKS": ["aiagents.openapi.add_endpoints"],
}

# --- Pages and headers --------------------------------------------------------------------------
LANGUAGE_CODE, TIME_ZONE, USE_I18N, USE_TZ = "en-us", "UTC", True, True
FORMAT_MODULE_PATH = ["aiagents.formats"]
# The admin's theme; values with a dotted path are called for each page (aiagents/dashboards/navigation.py).
UNFOLD = {
    "SITE_TITLE": "aiagents",
    "SITE_HEADER": "aiagents",
    "SITE_SUBHEADER": "Back office",
    "SITE_SYMBOL": "hub",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "aiagents.dashboards.navigation.icon"}],
    "ENVIRONMENT": "aiagents.dashboards.navigation.environment",
    "STYLES": ["aiagents.dashboards.navigation.style"],
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "#eef1ff",
            "100": "#e0e5fe",
            "200": "#c7cffc",
            "300": "#a5b0f8",
            "400": "#8089f1",
            "500": "#6069e8",
            "600": "#3f51d8",
            "700": "#3743b5",
            "800": "#303a91",
            "900": "#2c3574",
            "950": "#1b2046",
        },
    },
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": "aiagents.dashboards.navigation.groups"},
}
STATIC_URL, STATIC_ROOT = "static/", env.static_root or DATA_DIR / "static"
# Django's default lets every user of the machine read stored files.
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o600, 0o700
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "aiagents.server.static_files.Storage"},
}
# In debug mode files are served from the source; otherwise from the files that were collected at the start.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
# Source maps take megabytes, and no page loads them.
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = (*Compressor.SKIP_COMPRESS_EXTENSIONS, "map")
LOGIN_URL, LOGIN_REDIRECT_URL = "/admin/login/", "/admin/"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
_HTTPS = SITE_URL.startswith("https://")
SECURE_HSTS_SECONDS = 31536000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _HTTPS
SECURE_SSL_REDIRECT = False  # the proxy redirects; the product does not terminate TLS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_NAME = "__Host-session" if _HTTPS else "session"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # The header has a nonce only on pages that use it.
        "script-src": ["'self'", NONCE],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
CSRF_FAILURE_VIEW = "aiagents.core.http.error_views.csrf_failure"
# Web processes and workers write their metrics to files here, and /metrics adds them up. Set before prometheus_client is imported.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(DATA_DIR / "metrics"))
METRICS_TOKEN = env.metrics_token.get_secret_value() if env.metrics_token else ""
METRICS_NETWORKS = env.metrics_networks
LOG_LEVEL, LOG_FORMAT, LOG_FILE = env.log_level, env.log_format, env.log_file
LOGGING_CONFIG = "aiagents.core.logs.formatting.configure"
LOGGING: dict = {
    "level": LOG_LEVEL, "format": LOG_FORMAT, "file": LOG_FILE, "file_bytes": env.log_file_bytes, "files_kept": env.log_files_kept
}  # fmt: skip

for folder in (os.environ["PROMETHEUS_MULTIPROC_DIR"], STATIC_ROOT):
    Path(folder).mkdir(parents=True, exist_ok=True)
