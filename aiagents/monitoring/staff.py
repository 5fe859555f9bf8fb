"""How the monitoring endpoints recognise a member of staff."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.authentication import authenticate
from accounts.models import User
from aiagents.core.db.calls import in_db


async def is_staff(request: HttpRequest) -> bool:
    """Whether the request is a staff member's or an admin's: by access token or browser session, not by API key.

    Raises NotAuthenticated for an invalid credential and Unavailable while the database is unreachable.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    if "authorization" in headers or "x-api-key" in headers:
        principal = await authenticate(headers)
        return principal.scopes is None and _has_role(principal.user)
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return False
    return await in_db(_by_session, request)


def _by_session(request: HttpRequest) -> bool:
    return _has_role(request.user)


def _has_role(user: Any) -> bool:
    return isinstance(user, User) and user.is_active and (user.is_staff or user.is_admin)
