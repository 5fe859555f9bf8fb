"""Authentication of requests by their headers, and the check of scopes.

For DRF, the streaming endpoints, the WebSocket and `/v1`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from accounts import credentials, keys, principals
from accounts.models import ApiKey, User
from accounts.principals import CredentialRef, Principal
from accounts.sign_in import tickets
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotAuthenticated, PermissionDenied

__all__ = [
    "BearerAuthentication",
    "BrowsableSessionAuthentication",
    "Principal",
    "ScopeMissing",
    "authenticate",
    "authenticate_sync",
    "authenticate_ticket",
    "credential",
    "credential_of",
    "may",
    "principal_of",
    "require_scope",
    "still_valid",
    "valid_principals",
    "valid_refs",
]


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential that a caller sent, not yet verified. `digest` covers all of it."""

    raw: str = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def is_key(self) -> bool:
        return self.raw.startswith(keys.PREFIX)

    @property
    def subject(self) -> str:
        """Return the claimed subject, to compare with a cache entry. Raises ValueError if it is not a credential."""
        if self.is_key:
            return self.digest.hex()
        payload = self.raw.split(".")[1] if self.raw.count(".") == 2 else ""
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if not isinstance(claims, dict):
            raise ValueError("no claims")
        return str(claims.get("sub"))


# Anthropic's and Google's clients send an API key in a header of their own.
KEY_HEADERS = ("x-api-key", "x-goog-api-key")
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]{1,2048})")
_KEY_HEADER = re.compile(r"aia_[A-Za-z0-9_-]{1,200}")


def credential(headers: Mapping[str, str]) -> Credential | None:
    """Return the credential of a request, from one of three headers; None without one.

    Raises NotAuthenticated for two different credentials, another scheme, or characters that no credential has.
    """
    authorization = headers.get("authorization")
    found = set()
    if authorization is not None:
        match = _BEARER.fullmatch(authorization)
        if not match:
            raise NotAuthenticated
        found.add(match[1])
    for name in KEY_HEADERS:
        if (key := headers.get(name)) is not None:
            if not _KEY_HEADER.fullmatch(key):
                raise NotAuthenticated
            found.add(key)
    if len(found) > 1:
        raise NotAuthenticated
    if not found:
        return None
    raw = found.pop()
    return Credential(raw, hashlib.sha256(raw.encode()).digest())


async def authenticate(headers: Mapping[str, str]) -> Principal:
    """Return the principal of `Authorization: Bearer` (access token or API key) or of KEY_HEADERS. Names are lower-case.

    Raises NotAuthenticated. The result is cached for seconds (accounts/principals.py); a change of the user
    invalidates it at once.
    """
    offered = credential(headers)
    if offered is None:
        raise NotAuthenticated
    try:
        subject = offered.subject
    except (ValueError, RecursionError) as exc:
        raise NotAuthenticated from exc
    known = principals.get(offered.digest, subject)
    if known is not None:
        return known
    mark = principals.changes()
    principal = await in_db(credentials.find, offered.raw)
    principals.put(offered.digest, subject, principal, mark)
    if principal.key_id:
        keys.note_use(principal.key_id)
    return principal


def authenticate_sync(headers: Mapping[str, str]) -> Principal:
    """Return the same, read from the database each time; for DRF."""
    offered = credential(headers)
    if offered is None:
        raise NotAuthenticated
    principal = credentials.find(offered.raw)
    if principal.key_id:
        keys.note_use_now(principal.key_id)
    return principal


async def authenticate_ticket(ticket: str) -> Principal:
    """Return the principal of a WebSocket ticket: once, within 30 s, and while its credential is valid.

    Raises NotAuthenticated otherwise.
    """
    credential_ref = await tickets.redeem(ticket)
    principal = await in_db(credentials.renew, credential_ref)
    if principal is None:
        raise NotAuthenticated
    return principal


async def still_valid(principal: Principal) -> bool:
    """Return whether the credential of a long-lived connection is still valid; one query."""
    return bool(await valid_principals([principal]))


async def valid_principals(callers: Iterable[Principal]) -> set[CredentialRef]:
    """Return the references of those principals whose credentials are still valid; one to three queries in all."""
    return await valid_refs([one.credential_ref for one in callers])


async def valid_refs(credential_refs: list[CredentialRef]) -> set[CredentialRef]:
    """Return the references that are still valid.

    For the watch over streams (aiagents/core/live/credential_watch.py).
    """
    return await in_db(credentials.filter_valid, credential_refs)


def may(principal: Principal, scope: str | None, *, safe: bool = False) -> bool:
    """Return whether the principal has the scope (None: signed in, without a key).

    `safe`: the request only reads, for which the scope `read` is enough.
    """
    if principal.scopes is None:
        return True
    return scope is not None and (scope in principal.scopes or (safe and ApiKey.Scope.READ in principal.scopes))


class ScopeMissing(PermissionDenied, exceptions.PermissionDenied):
    """The error of every endpoint for a missing scope. Also DRF's error, which its browsable API expects."""

    code = "scope_missing"


def require_scope(principal: Principal, scope: str, *, safe: bool = False) -> None:
    """Raise ScopeMissing unless the principal has the scope."""
    if not may(principal, scope, safe=safe):
        raise ScopeMissing(f"This API key lacks the scope {scope}.", details={"scope": scope})


def credential_of(request: HttpRequest) -> Principal | None:
    """Return the principal of a served Django request, without a query; None for a request without a credential."""
    known = request.__dict__
    auth, user = known.get("auth"), known.get("_cached_user") or known.get("_acached_user")
    if isinstance(auth, Principal):
        return auth
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    return principals.of_session(user, session_key) if isinstance(user, User) and session_key else None


def principal_of(request: Request) -> Principal:
    """Return the principal of an authenticated DRF request.

    A user without one (a test's `force_authenticate`) gets the principal of the account.
    """
    if isinstance(request.auth, Principal):
        return request.auth
    assert isinstance(request.user, User)
    return principals.of_account(request.user)


class BearerAuthentication(BaseAuthentication):
    """Authentication by access token or API key. It comes first, so that a request without either is 401, not 403."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        headers = {name: request.headers[name] for name in ("authorization", "x-api-key") if name in request.headers}
        if not headers:
            return None
        try:
            principal = authenticate_sync(headers)
        except NotAuthenticated as exc:
            # DRF adds WWW-Authenticate only to its own class; the body is the same as without a credential.
            raise exceptions.NotAuthenticated(exc.message) from exc
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class BrowsableSessionAuthentication(SessionAuthentication):
    """Authentication by the admin's browser session, for the browsable API, with CSRF protection."""

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
