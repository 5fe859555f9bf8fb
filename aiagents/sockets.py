"""The WebSockets of other rooms than the chat's, with who may open them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from accounts import principals
from accounts.authentication import Principal, authenticate, authenticate_ticket
from accounts.models import User
from accounts.principals import Standing
from aiagents.lib import url_secrets
from aiagents.lib.db import in_db
from aiagents.lib.errors import NotAuthenticated, PermissionDenied, Unavailable
from aiagents.monitoring.live import LiveSocket, Viewer
from chat import origins, routing

LIVE = "/api/v1/admin/live"
# Staff without the admin role may watch in the admin's pages with this right.
RIGHT = "monitoring.view_systemmetric"


@dataclass(frozen=True, slots=True)
class _ByCredential:
    principal: Principal

    @property
    def name(self) -> str:
        return str(self.principal.user_id)

    async def may_stay(self) -> bool:
        """By the database. While it is away nobody can have taken the right there, but a token still ends."""
        if self.principal.expires_at is not None and self.principal.expires_at <= time.time():
            return False
        try:
            found = await in_db(principals.renew, Standing.of(self.principal))
        except Unavailable:
            return True
        return found is not None and found.user.is_admin


@dataclass(frozen=True, slots=True)
class _BySession:
    session_key: str
    user_id: Any

    @property
    def name(self) -> str:
        return str(self.user_id)

    async def may_stay(self) -> bool:
        try:
            return await in_db(_staff_of, self.session_key) is not None
        except Unavailable:
            return True


async def admit(scope: dict[str, Any], headers: dict[str, str]) -> Viewer | None:
    """An admin in person by access token or one-time ticket, as at the chat's socket; or staff by the admin's session cookie.

    A cookie is sent by whatever page opens a socket, so it counts only together with an Origin that is ours.
    """
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    origin = headers.get("origin")
    if not origins.allowed(origin, headers.get("host", ""), scheme):
        return None
    if url_secrets.holds_one(scope.get("query_string", b"")):
        raise NotAuthenticated("A credential in a URL stands in every log on its way.")
    ticket = next((name[7:] for name in scope.get("subprotocols", []) if name.startswith("ticket.")), None)
    if ticket is not None:
        return _admin(await authenticate_ticket(ticket))
    if "authorization" in headers or "x-api-key" in headers:
        return _admin(await authenticate(headers))
    session_key = _session_key(headers.get("cookie", ""))
    if session_key is None or origin is None:
        raise NotAuthenticated
    user = await in_db(_staff_of, session_key)
    if user is None:
        raise NotAuthenticated
    return _BySession(session_key, user.pk)


def _admin(principal: Principal) -> Viewer:
    if principal.scopes is not None or not principal.user.is_admin:
        raise PermissionDenied("This needs the admin role, in person.")
    return _ByCredential(principal)


def _session_key(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return found.value if found is not None and found.value.isalnum() and len(found.value) <= 64 else None


def _staff_of(session_key: str) -> User | None:
    """The member of staff whose session this is, if they may watch; Django's own check, password and epoch included."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active or not user.is_staff:
        return None
    return user if user.is_admin or user.has_perm(RIGHT) else None


def register() -> None:
    routing.routes[LIVE] = LiveSocket(admit)
