"""Settings of the database, of Valkey as a cache, and of the channel layer."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from aiagents.settings.base import BASE_DIR, DATA_DIR
from aiagents.settings.env import env

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
