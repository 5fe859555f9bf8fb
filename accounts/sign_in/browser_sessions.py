"""Django's browser sessions, found by their key: the credential of staff's WebSockets and downloads."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from accounts.models import User


def user_of(session_key: str) -> User | None:
    """Return the active user of a valid session; None after log-out, flush, expiry, or a new password or epoch."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)  # checks the backend, the account's state and the session's hash
    return user if isinstance(user, User) and user.is_active else None
