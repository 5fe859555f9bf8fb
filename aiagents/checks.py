"""Unsafe settings in production: `check --deploy` reports them, and the server refuses to start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Critical, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from accounts.sign_in import published_passwords
from aiagents.settings.env import misnomers

SHORTEST_SECRET = 50
FEWEST_CHARACTERS = 10
_PLACEHOLDERS = ("change", "secret-key", "django-insecure", "example", "tests-only")


def production_is_safe(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    return [Critical(text, hint=hint, id=f"aiagents.C{number:03}") for number, (text, hint) in enumerate(refusals(), 1)]


def settings_are_known(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """A warning for each name that looks like a setting but is not one, and for each old name."""
    return [Warning(str(found), id="aiagents.W002" if found.old else "aiagents.W001") for found in misnomers()]


def refuse_if_unsafe() -> None:
    """Raise ImproperlyConfigured with all reasons in production; do nothing elsewhere."""
    if settings.ENVIRONMENT == "production" and (found := refusals() + demo_logins()):
        reasons = "\n".join(f"- {text} {hint}" for text, hint in found)
        raise ImproperlyConfigured(f"aiagents does not start in production like this:\n{reasons}")


def refusals() -> list[tuple[str, str]]:
    """The unsafe settings as pairs of what is wrong and what to do."""
    found = []
    if settings.DEBUG:
        found.append(("DEBUG is on.", "Unset DEBUG."))
    key = settings.SECRET_KEY
    if len(key) < SHORTEST_SECRET or len(set(key)) < FEWEST_CHARACTERS or any(part in key.lower() for part in _PLACEHOLDERS):
        hint = "Set SECRET_KEY to 50 or more random characters: python -c 'import secrets; print(secrets.token_urlsafe(64))'"
        found.append(("SECRET_KEY is short, repetitive or a placeholder.", hint))
    if not settings.ALLOWED_HOSTS or any("*" in host for host in settings.ALLOWED_HOSTS):
        found.append(("ALLOWED_HOSTS allows every host, or none.", "List the names people use, e.g. ai.example.com."))
    if any("*" in origin for origin in [*settings.CORS_ALLOWED_ORIGINS, *settings.WEBSOCKET_ORIGINS]):
        found.append(("An origin is a wildcard.", "List full origins in CORS_ALLOWED_ORIGINS and WEBSOCKET_ORIGINS."))
    return found


def demo_logins(*, privileged_too: bool = False) -> list[tuple[str, str]]:
    """The accounts that still have a published password, as pairs like `refusals`. Empty while the database is unreachable."""
    try:
        users = published_passwords.holders(privileged_too=privileged_too)
    except DatabaseError:
        return []
    hint = "Change it (manage.py changepassword EMAIL) or disable the account."
    return [(f"{user.email} still has its published demo password.", hint) for user in users]
