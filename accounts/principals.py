"""From a credential to a principal, always by the database: every question of "does this still work" is answered here."""

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
    """An authenticated caller. Rights come from the database at authentication, never from the token.

    Every caller from outside has an anchor that can be revoked: an API key, a session of tokens (`family_id`) or a browser session.
    Without one it is the account itself, for work that no caller watches: it ends with the account and its epoch.
    `auth_epoch` and `key_id` go with every hold, where the database checks them once more in the same statement.
    `user` may be shared with other requests of the next seconds: read it, never write it.
    """

    user: User
    auth_epoch: int
    key_id: UUID | None = None
    # None: an access token, which may do all that its user may. A key: its scopes.
    scopes: frozenset[str] | None = None
    # Requests per window; None: the user's default.
    rate_limit: int | None = None
    # Unix time at which the credential ends; None: never.
    expires_at: float | None = None
    family_id: UUID | None = None
    # Of a browser session: where Django keeps it.
    session_key: str | None = field(default=None, repr=False)

    @property
    def user_id(self) -> UUID:
        return self.user.id

    @property
    def standing(self) -> Standing:
        return Standing.of(self)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller sent, unproved. `digest` is over the whole of it."""

    raw: str = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def is_key(self) -> bool:
        return self.raw.startswith(keys.PREFIX)

    @property
    def subject(self) -> str:
        """Whom it claims to be, for comparison with what a cache says. ValueError if it is no credential at all."""
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
    """The one credential of a request; None if it brings none. Only these two headers are ever read.

    Two different ones, another scheme, or characters that no credential has are `NotAuthenticated`.
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
    """The principal of a credential that works now, or `NotAuthenticated`."""
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
class Standing:
    """By what a principal stands, without the credential: enough to ask again later, or to store behind a ticket."""

    user_id: UUID
    auth_epoch: int
    key_id: UUID | None = None
    family_id: UUID | None = None
    expires_at: float | None = None
    session_key: str | None = field(default=None, repr=False)
    # What its user must still have, in person, beside a working credential: the admin role or, in a browser session of staff, this
    # permission of Django's. Empty: nothing.
    right: str = ""

    @classmethod
    def of(cls, principal: Principal, right: str = "") -> Standing:
        one = principal
        return cls(one.user_id, one.auth_epoch, one.key_id, one.family_id, one.expires_at, one.session_key, right)


def renew(standing: Standing) -> Principal | None:
    """The principal as the database has it now; None if it ended meanwhile."""
    if standing.expires_at is not None and standing.expires_at <= timezone.now().timestamp():
        return None
    if standing.key_id:
        key = ApiKey.objects.live().select_related("user").filter(pk=standing.key_id, user_id=standing.user_id).first()
        return _of_key(key) if key and key.user.auth_epoch == standing.auth_epoch else None
    if standing.family_id:
        family = _live_family(standing.family_id, standing.user_id, standing.auth_epoch)
        return Principal(family.user, standing.auth_epoch, expires_at=standing.expires_at, family_id=family.id) if family else None
    if standing.session_key:
        user = browser_sessions.user_of(standing.session_key)
        same = user is not None and (user.pk, user.auth_epoch) == (standing.user_id, standing.auth_epoch)
        return of_session(user, standing.session_key) if user is not None and same else None
    user = User.objects.filter(pk=standing.user_id, is_active=True, auth_epoch=standing.auth_epoch).first()
    return Principal(user, standing.auth_epoch, expires_at=standing.expires_at) if user else None


def still_stand(standings: Iterable[Standing]) -> set[Standing]:
    """Those that work now. However many are asked about, it is one query for each kind of credential, browser sessions apart."""
    now = timezone.now().timestamp()
    asked = {one for one in standings if one.expires_at is None or one.expires_at > now}
    live: set[tuple[object, UUID, int]] = set()  # credential, user, the epoch that both are in
    if ids := {one.key_id for one in asked if one.key_id}:
        live |= set(ApiKey.objects.live().filter(pk__in=ids).values_list("pk", "user_id", "user__auth_epoch"))
    if ids := {one.family_id for one in asked if one.family_id and not one.key_id}:
        families = TokenFamily.objects.live().filter(pk__in=ids, user__is_active=True, user__auth_epoch=F("auth_epoch"))
        live |= set(families.values_list("pk", "user_id", "auth_epoch"))
    for session_key in {one.session_key for one in asked if one.session_key}:
        if user := browser_sessions.user_of(session_key):
            live.add((session_key, user.pk, user.auth_epoch))
    if ids := {one.user_id for one in asked if _anchor(one) == one.user_id}:
        live |= {(pk, pk, epoch) for pk, epoch in User.objects.filter(pk__in=ids, is_active=True).values_list("pk", "auth_epoch")}
    return _with_right({one for one in asked if (_anchor(one), one.user_id, one.auth_epoch) in live})


def _anchor(standing: Standing) -> object:
    return standing.key_id or standing.family_id or standing.session_key or standing.user_id


def _with_right(standings: set[Standing]) -> set[Standing]:
    users = User.objects.in_bulk({one.user_id for one in standings if one.right})
    return {one for one in standings if not one.right or (one.user_id in users and has_right(users[one.user_id], one))}


def has_right(user: User, standing: Standing) -> bool:
    """Whether this user has the right that the standing needs, by the kind of credential it stands on."""
    if standing.key_id or not user.is_active:
        return False
    return user.is_admin or (standing.session_key is not None and user.is_staff and user.has_perm(standing.right))


def of_session(user: User, session_key: str) -> Principal:
    """The principal of a member of staff in a browser session."""
    return Principal(user, user.auth_epoch, session_key=session_key)


def of_account(user: User, *, key_id: UUID | None = None, scopes: frozenset[str] | None = None) -> Principal:
    """The principal of work that runs for a user without a caller: tasks, and what staff start for them. `key_id`: on whose account."""
    return Principal(user, user.auth_epoch, key_id=key_id, scopes=scopes)


def _of_key(key: ApiKey) -> Principal:
    return Principal(
        key.user,
        key.user.auth_epoch,
        key_id=key.id,
        scopes=frozenset(key.scopes) & frozenset(ApiKey.Scope.values),
        # A key made when the limit was higher does not keep it.
        rate_limit=min(key.rate_limit, buckets.of_role(key.user.role)) if key.rate_limit else None,
        expires_at=key.expires_at.timestamp() if key.expires_at else None,
    )


def _live_family(family_id: UUID, user_id: UUID, epoch: int) -> TokenFamily | None:
    live = TokenFamily.objects.live().select_related("user")
    return live.filter(pk=family_id, user_id=user_id, auth_epoch=epoch, user__is_active=True, user__auth_epoch=epoch).first()
