"""Find the principal of a credential, and check whether a credential is still valid, always in the database."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import orjson
from django.db.models import F
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, TokenFamily, User
from accounts.sign_in import browser_sessions, tokens
from aiagents.core.errors import NotAuthenticated
from aiagents.core.ratelimit import buckets


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. Permissions come from the database at authentication, never from the token.

    An external caller has a credential that can be revoked: an API key, a session of tokens (`family_id`) or a browser
    session. Without one the principal is the account, for background work: it ends with the account and its epoch.
    Every hold includes `auth_epoch` and `key_id`, and its statement checks them again in the database.
    Other requests may share `user`: read it, never write it.
    """

    user: User
    auth_epoch: int
    key_id: UUID | None = None
    # The scopes of an API key; None: an access token, which has all permissions of its user.
    scopes: frozenset[str] | None = None
    # Requests per window; None: the user's default.
    rate_limit: int | None = None
    # Unix time at which the credential ends; None: never.
    expires_at: float | None = None
    family_id: UUID | None = None
    # Django's key of a browser session.
    session_key: str | None = field(default=None, repr=False)

    @property
    def user_id(self) -> UUID:
        return self.user.id

    @property
    def credential_ref(self) -> CredentialRef:
        return CredentialRef.of(self)


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


_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]{1,2048})")
_KEY_HEADER = re.compile(r"aia_[A-Za-z0-9_-]{1,200}")


def credential(headers: Mapping[str, str]) -> Credential | None:
    """Return the credential of a request, from one of two headers; None without one.

    Raises NotAuthenticated for two different credentials, another scheme, or characters that no credential has.
    """
    authorization, key = headers.get("authorization"), headers.get("x-api-key")
    found = set()
    if authorization is not None:
        match = _BEARER.fullmatch(authorization)
        if not match:
            raise NotAuthenticated
        found.add(match[1])
    if key is not None:
        if not _KEY_HEADER.fullmatch(key):
            raise NotAuthenticated
        found.add(key)
    if len(found) > 1:
        raise NotAuthenticated
    if not found:
        return None
    raw = found.pop()
    return Credential(raw, hashlib.sha256(raw.encode()).digest())


def find(offered: Credential) -> Principal:
    """Return the principal of a valid credential. Raises NotAuthenticated otherwise."""
    if offered.is_key:
        key = keys.find(offered.raw)
        if key is None:
            raise NotAuthenticated
        return _of_key(key)
    claims = tokens.read(offered.raw, tokens.AccessToken)
    family = _live_family(claims.family_id, claims.user_id, claims.auth_epoch)
    if family is None:
        raise NotAuthenticated
    return Principal(family.user, family.user.auth_epoch, expires_at=claims.expires_at, family_id=family.id)


@dataclass(frozen=True, slots=True)
class CredentialRef:
    """A reference to a principal's credential, without its secret: to check it later, or to store with a ticket."""

    user_id: UUID
    auth_epoch: int
    key_id: UUID | None = None
    family_id: UUID | None = None
    expires_at: float | None = None
    session_key: str | None = field(default=None, repr=False)
    # What the signed-in user needs beside a valid credential: the admin role or, in a browser session of staff, this
    # permission of Django. Empty: nothing.
    permission: str = ""

    @classmethod
    def of(cls, principal: Principal, permission: str = "") -> CredentialRef:
        one = principal
        return cls(one.user_id, one.auth_epoch, one.key_id, one.family_id, one.expires_at, one.session_key, permission)


def renew(credential_ref: CredentialRef) -> Principal | None:
    """Return the principal, read again from the database; None if its credential has ended."""
    if credential_ref.expires_at is not None and credential_ref.expires_at <= timezone.now().timestamp():
        return None
    if credential_ref.key_id:
        key = ApiKey.objects.live().select_related("user").filter(pk=credential_ref.key_id, user_id=credential_ref.user_id).first()
        return _of_key(key) if key and key.user.auth_epoch == credential_ref.auth_epoch else None
    if credential_ref.family_id:
        family = _live_family(credential_ref.family_id, credential_ref.user_id, credential_ref.auth_epoch)
        return (
            Principal(family.user, credential_ref.auth_epoch, expires_at=credential_ref.expires_at, family_id=family.id) if family else None
        )
    if credential_ref.session_key:
        user = browser_sessions.user_of(credential_ref.session_key)
        same = user is not None and (user.pk, user.auth_epoch) == (credential_ref.user_id, credential_ref.auth_epoch)
        return of_session(user, credential_ref.session_key) if user is not None and same else None
    user = User.objects.filter(pk=credential_ref.user_id, is_active=True, auth_epoch=credential_ref.auth_epoch).first()
    return Principal(user, credential_ref.auth_epoch, expires_at=credential_ref.expires_at) if user else None


def filter_valid(credential_refs: Iterable[CredentialRef]) -> set[CredentialRef]:
    """Return the references that are valid now.

    It takes one query for each kind of credential, and one for each browser session.
    """
    now = timezone.now().timestamp()
    unexpired = {one for one in credential_refs if one.expires_at is None or one.expires_at > now}
    live: set[tuple[object, UUID, int]] = set()  # credential, user, the epoch that both are in
    if ids := {one.key_id for one in unexpired if one.key_id}:
        live |= set(ApiKey.objects.live().filter(pk__in=ids).values_list("pk", "user_id", "user__auth_epoch"))
    if ids := {one.family_id for one in unexpired if one.family_id and not one.key_id}:
        families = TokenFamily.objects.live().filter(pk__in=ids, user__is_active=True, user__auth_epoch=F("auth_epoch"))
        live |= set(families.values_list("pk", "user_id", "auth_epoch"))
    for session_key in {one.session_key for one in unexpired if one.session_key}:
        if user := browser_sessions.user_of(session_key):
            live.add((session_key, user.pk, user.auth_epoch))
    if ids := {one.user_id for one in unexpired if _anchor(one) == one.user_id}:
        live |= {(pk, pk, epoch) for pk, epoch in User.objects.filter(pk__in=ids, is_active=True).values_list("pk", "auth_epoch")}
    return _with_permission({one for one in unexpired if (_anchor(one), one.user_id, one.auth_epoch) in live})


def _anchor(credential_ref: CredentialRef) -> object:
    return credential_ref.key_id or credential_ref.family_id or credential_ref.session_key or credential_ref.user_id


def _with_permission(credential_refs: set[CredentialRef]) -> set[CredentialRef]:
    users = User.objects.in_bulk({one.user_id for one in credential_refs if one.permission})
    return {one for one in credential_refs if not one.permission or (one.user_id in users and has_permission(users[one.user_id], one))}


def has_permission(user: User, credential_ref: CredentialRef) -> bool:
    """Return whether this user has the permission that the reference requires, by the kind of credential."""
    if credential_ref.key_id or not user.is_active:
        return False
    return user.is_admin or (credential_ref.session_key is not None and user.is_staff and user.has_perm(credential_ref.permission))


def of_session(user: User, session_key: str) -> Principal:
    """Return the principal of a staff member in a browser session."""
    return Principal(user, user.auth_epoch, session_key=session_key)


def of_account(user: User, *, key_id: UUID | None = None, scopes: frozenset[str] | None = None) -> Principal:
    """Return the principal of work for a user without a caller, such as tasks.

    `key_id`: the API key that is charged.
    """
    return Principal(user, user.auth_epoch, key_id=key_id, scopes=scopes)


def _of_key(key: ApiKey) -> Principal:
    return Principal(
        key.user,
        key.user.auth_epoch,
        key_id=key.id,
        scopes=frozenset(key.scopes) & frozenset(ApiKey.Scope.values),
        # The current limit also applies to a key that was created with a higher one.
        rate_limit=min(key.rate_limit, buckets.of_role(key.user.role)) if key.rate_limit else None,
        expires_at=key.expires_at.timestamp() if key.expires_at else None,
    )


def _live_family(family_id: UUID, user_id: UUID, epoch: int) -> TokenFamily | None:
    live = TokenFamily.objects.live().select_related("user")
    return live.filter(pk=family_id, user_id=user_id, auth_epoch=epoch, user__is_active=True, user__auth_epoch=epoch).first()
