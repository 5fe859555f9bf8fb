"""Django's browser sessions, by their key: what WebSockets and downloads of staff stand on."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from accounts.models import User


def user_of(session_key: str) -> User | None:
    """The active user of a session that works now; None after log-out, flush, expiry, or a change of password or epoch."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)  # Django's own check: the backend, the account's state and the session's hash
    return user if isinstance(user, User) and user.is_active else None
