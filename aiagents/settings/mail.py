"""Settings of e-mail."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from aiagents.settings.env import env


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
