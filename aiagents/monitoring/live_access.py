"""Who may open the WebSocket of live figures."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from django.conf import settings

from accounts import credentials, principals
from accounts.authentication import Principal, authenticate, authenticate_ticket
from accounts.principals import CredentialRef
from accounts.sign_in import browser_sessions
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotAuthenticated, PermissionDenied
from aiagents.core.http import url_secrets
from aiagents.monitoring.live import Viewer
from chat.api import origins

# Staff without the admin role may watch in the admin's pages with this right.
RIGHT = "monitoring.view_systemmetric"


@dataclass(frozen=True, slots=True)
class _Viewer:
    """An admin in person, or staff with the right in a browser session; for as long as the credential and the right last."""

    principal: Principal

    @property
    def name(self) -> str:
        return str(self.principal.user_id)

    @property
    def credential_ref(self) -> CredentialRef:
        return CredentialRef.of(self.principal, RIGHT)


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
    viewer = await in_db(_staff_of, session_key)
    if viewer is None:
        raise NotAuthenticated
    return viewer


def _admin(principal: Principal) -> Viewer:
    if principal.scopes is not None or not principal.user.is_admin:
        raise PermissionDenied("This needs the admin role, in person.")
    return _Viewer(principal)


def _session_key(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return found.value if found is not None and found.value.isalnum() and len(found.value) <= 64 else None


def _staff_of(session_key: str) -> _Viewer | None:
    """The member of staff whose session this is, if they may watch."""
    user = browser_sessions.user_of(session_key)
    if user is None or not user.is_staff:
        return None
    viewer = _Viewer(principals.of_session(user, session_key))
    return viewer if credentials.has_permission(user, viewer.credential_ref) else None
