"""Who is calling, from a request's headers: one answer for DRF, the endpoints beside Django and the WebSockets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from accounts import keys, principal_cache, principals
from accounts.models import User
from accounts.principals import Principal, Standing
from accounts.sign_in import tickets
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotAuthenticated

__all__ = [
    "BearerAuthentication",
    "BrowsableSessionAuthentication",
    "Principal",
    "authenticate",
    "authenticate_sync",
    "authenticate_ticket",
    "credential_of",
    "principal_of",
    "still_standing",
    "still_valid",
    "still_valid_ones",
]


async def authenticate(headers: Mapping[str, str]) -> Principal:
    """The caller's principal, from `Authorization: Bearer` (access token or API key) or `x-api-key`; else `NotAuthenticated`.

    Remembered for seconds (accounts/principal_cache.py), forgotten at once when something about the user changes. Names are lower-case.
    """
    offered = principals.credential(headers)
    if offered is None:
        raise NotAuthenticated
    try:
        subject = offered.subject
    except (ValueError, RecursionError) as exc:
        raise NotAuthenticated from exc
    known = principal_cache.get(offered.digest, subject)
    if known is not None:
        return known
    mark = principal_cache.changes()
    principal = await in_db(principals.find, offered)
    principal_cache.put(offered.digest, subject, principal, mark)
    if principal.key_id:
        keys.note_use(principal.key_id)
    return principal


def authenticate_sync(headers: Mapping[str, str]) -> Principal:
    """The same against the database each time; for DRF."""
    offered = principals.credential(headers)
    if offered is None:
        raise NotAuthenticated
    principal = principals.find(offered)
    if principal.key_id:
        keys.note_use_now(principal.key_id)
    return principal


async def authenticate_ticket(ticket: str) -> Principal:
    """Whom a WebSocket ticket was given to, once, within 30 s and while what it stands on still works."""
    standing = await tickets.redeem(ticket)
    principal = await in_db(principals.renew, standing)
    if principal is None:
        raise NotAuthenticated
    return principal


async def still_valid(principal: Principal) -> bool:
    """Whether the credential of a long-lived connection still works; one query."""
    return bool(await still_valid_ones([principal]))


async def still_valid_ones(asked: Iterable[Principal]) -> set[Standing]:
    """The standings of those principals whose credentials still work; a query or three for all of them together."""
    return await still_standing([one.standing for one in asked])


async def still_standing(standings: list[Standing]) -> set[Standing]:
    """Those that still work: what the watch over streams and sockets asks (aiagents/core/live/credential_watch.py)."""
    return await in_db(principals.still_stand, standings)


def credential_of(request: HttpRequest) -> Principal | None:
    """The principal by which a Django request was served, found without a query; None for a request without a credential."""
    known = request.__dict__
    auth, user = known.get("auth"), known.get("_cached_user") or known.get("_acached_user")
    if isinstance(auth, Principal):
        return auth
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    return principals.of_session(user, session_key) if isinstance(user, User) and session_key else None


def principal_of(request: Request) -> Principal:
    """The principal of an authenticated DRF request; a user without one (a test's `force_authenticate`) is the account's own."""
    if isinstance(request.auth, Principal):
        return request.auth
    assert isinstance(request.user, User)
    return principals.of_account(request.user)


class BearerAuthentication(BaseAuthentication):
    """Access token or API key. First in the list, so that a request without either is 401 and not 403."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        headers = {name: request.headers[name] for name in ("authorization", "x-api-key") if name in request.headers}
        if not headers:
            return None
        try:
            principal = authenticate_sync(headers)
        except NotAuthenticated as exc:
            # DRF's own class, so that DRF adds WWW-Authenticate; the body is the same as without any credential.
            raise exceptions.NotAuthenticated(exc.message) from exc
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class BrowsableSessionAuthentication(SessionAuthentication):
    """The admin's browser session, for the browsable API, CSRF enforced."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        found = super().authenticate(request)
        if found is None or not request.session.session_key:
            return None
        return found[0], principals.of_session(found[0], request.session.session_key)


class _BearerScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.BearerAuthentication"
    name = ["bearer", "x-api-key"]

    def get_security_definition(self, auto_schema: object) -> list[dict[str, str]]:
        bearer = {"type": "http", "scheme": "bearer", "description": "an access token, or an API key (`aia_…`)"}
        return [bearer, {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "an API key"}]

    def get_security_requirement(self, auto_schema: object) -> list[dict[str, list[str]]]:
        return [{"bearer": []}, {"x-api-key": []}]  # either, not both


class _SessionScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.BrowsableSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        from django.conf import settings

        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME, "description": "staff's browser session"}
