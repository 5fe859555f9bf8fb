"""Sessions: sign-in creates a token family, refresh moves it to its next generation, and a replay ends it.

simplejwt signs the tokens. Its blacklist app is not used, because it stores whole tokens. Times and ids in a token are
derived from the family's row: a second tab that repeats a refresh gets the same successor, and no token is stored.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache as once
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.tokens import Token

from accounts import audit, principals
from accounts.models import TokenFamily, User
from aiagents.core.errors import NotAuthenticated
from aiagents.core.jsonio import clean_text
from aiagents.core.live import news

log = logging.getLogger(__name__)
MAX_TOKEN_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Pair:
    """The tokens that a client gets at sign-in and at each refresh."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token with a valid signature. The database decides whether they still hold."""

    user_id: UUID
    family_id: UUID
    generation: int
    auth_epoch: int
    expires_at: float


class _Backend(TokenBackend):
    """simplejwt's backend, which accepts only our exact header: no other `alg`, and no `crit`, `kid` or `jku`."""

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        raw = token.encode() if isinstance(token, str) else token
        if len(raw) > MAX_TOKEN_LENGTH or raw.partition(b".")[0] != self.header or not _is_canonical(raw.rpartition(b".")[2]):
            raise TokenBackendError("not one of our tokens")
        try:
            return jwt.decode(
                raw, self.prepared_verifying, algorithms=[self.algorithm], audience=self.audience, issuer=self.issuer,
                # Another host's clock may be ahead of this one's, so a token may have been issued in the future.
                options={"require": ["exp", "iss", "aud", "sub", "jti"], "verify_iat": False},
            )  # fmt: skip
        except jwt.InvalidTokenError as exc:
            raise TokenBackendError("Token is invalid") from exc

    @property
    def prepared_verifying(self) -> Any:
        return self.get_verifying_key(None)  # type: ignore[arg-type]  # HS256: the same for every token

    @property
    def header(self) -> bytes:
        return _header(self)


def _is_canonical(signature: bytes) -> bool:
    """Return whether it is the canonical encoding. Decoders ignore padding, foreign characters and the last two bits.

    Header and payload need no such check: the signature covers their encoded form.
    """
    try:
        decoded = base64.urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
    except ValueError:
        return False
    return base64.urlsafe_b64encode(decoded).rstrip(b"=") == signature


@once
def _header(backend: _Backend) -> bytes:
    return backend.encode({}).partition(".")[0].encode()


@once
def _backend() -> _Backend:
    options: dict[str, Any] = settings.SIMPLE_JWT
    return _Backend(options["ALGORITHM"], options["SIGNING_KEY"], audience=options["AUDIENCE"], issuer=options["ISSUER"])


class _Ours(Token):
    lifetime = timedelta(seconds=1)  # simplejwt requires one; `exp` is always set below

    @classmethod
    def of(cls, family: TokenFamily, epoch: int, issued_at: datetime, expires_at: datetime) -> _Ours:
        token = cls()
        token.payload |= {
            "sub": str(family.user_id),
            "fam": str(family.id),
            "gen": family.generation,
            "epoch": epoch,
            "iat": int(issued_at.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": _jti(cls.token_type, family.id, family.generation),
        }
        return token

    def get_token_backend(self) -> _Backend:
        return _backend()


class AccessToken(_Ours):
    token_type = "access"


class RefreshToken(_Ours):
    token_type = "refresh"


def _jti(kind: str | None, family_id: UUID, generation: int) -> str:
    return salted_hmac("accounts.sign_in.tokens.jti", f"{kind}:{family_id}:{generation}", algorithm="sha256").hexdigest()[:32]


def read(raw: str, kind: type[_Ours]) -> Claims:
    """Return the claims of a token of this kind after checking signature, audience, issuer and expiry.

    Raises the same NotAuthenticated for every fault.
    """
    try:
        payload = kind(raw).payload  # type: ignore[arg-type]  # simplejwt's stubs want its own Token type
        claims = Claims(UUID(payload["sub"]), UUID(payload["fam"]), int(payload["gen"]), int(payload["epoch"]), float(payload["exp"]))
        if not constant_time_compare(payload["jti"], _jti(kind.token_type, claims.family_id, claims.generation)):
            raise NotAuthenticated
    except (TokenError, KeyError, TypeError, ValueError) as exc:
        raise NotAuthenticated from exc
    return claims


def sign_in(user: User, *, ip: str = "", user_agent: str = "") -> Pair:
    """Create a family for a user whose password was just checked on this instance; return its tokens."""
    now = timezone.now()
    family = TokenFamily.objects.create(
        user=user,
        auth_epoch=user.auth_epoch,
        rotated_at=now,
        expires_at=now + _lifetime("REFRESH"),
        user_agent=clean_text(user_agent)[:200],
        ip=audit.storable_ip(ip),
    )
    return pair_of(family, user)


def _lifetime(kind: str) -> timedelta:
    options: dict[str, Any] = settings.SIMPLE_JWT
    return options[f"{kind}_TOKEN_LIFETIME"]


def pair_of(family: TokenFamily, user: User) -> Pair:
    refresh = RefreshToken.of(family, user.auth_epoch, family.rotated_at, family.expires_at)
    return Pair(_access(family, user, family.rotated_at), str(refresh))


def _access(family: TokenFamily, user: User, at: datetime) -> str:
    ends = min(at + _lifetime("ACCESS"), family.expires_at)
    return str(AccessToken.of(family, user.auth_epoch, at, ends))


def renew_access(user: User, family_id: UUID) -> str | None:
    """Return a new access token of a session that stays valid after a password change; None if it has ended."""
    family = TokenFamily.objects.live().filter(pk=family_id, user=user).first()
    return _access(family, user, timezone.now()) if family else None


def rotate(raw: str) -> Pair:
    """Return the successor of a refresh token; a repeat within REFRESH_GRACE_SECONDS returns the same one.

    Any other repeat ends the family and raises NotAuthenticated.
    """
    claims = read(raw, RefreshToken)
    family, replayed = _advance(claims)
    if replayed:
        # Outside of the transaction: inside, the exception would roll back the revocation.
        _alarm(family, claims)
        raise NotAuthenticated
    return pair_of(family, family.user)


@transaction.atomic
def _advance(claims: Claims) -> tuple[TokenFamily, bool]:
    """Return the family, advanced by this or a concurrent call, and whether the token was replayed."""
    # One guarded statement: of concurrent callers one advances the row, and the others see it advanced.
    moved = (
        TokenFamily.objects.live()
        .filter(pk=claims.family_id, generation=claims.generation)
        .update(generation=F("generation") + 1, rotated_at=Now())
    )
    family = TokenFamily.objects.select_related("user").annotate(now=Now()).filter(pk=claims.family_id).first()
    if family is None or family.revoked_at or family.expires_at <= family.now:
        raise NotAuthenticated
    if not family.user.is_active or family.auth_epoch != family.user.auth_epoch or family.user_id != claims.user_id:
        raise NotAuthenticated
    grace = timedelta(seconds=settings.REFRESH_GRACE_SECONDS)
    twin = claims.generation == family.generation - 1 and family.now - family.rotated_at <= grace
    return family, not (moved or twin)


def _alarm(family: TokenFamily, claims: Claims) -> None:
    revoke(family, "reuse")
    details = {"generation": claims.generation, "current": family.generation}
    audit.record("token.reuse", target=family, details={"user_id": str(family.user_id)} | details)
    log.error("refresh token reused: family %s of user %s revoked (%s)", family.id, family.user_id, details)


def revoke(family: TokenFamily, reason: str) -> bool:
    """End one session at once, in every process. Returns False if it had ended before."""
    ended = TokenFamily.objects.filter(pk=family.pk).revoke(reason)
    principals.announce(family.user_id)
    if ended:
        news.send(family.user_id, news.Kind.CREDENTIAL_ENDED, family.pk)
    return bool(ended)


def sign_out(raw: str) -> TokenFamily | None:
    """End the session of a refresh token and return it; None if it has already ended."""
    claims = read(raw, RefreshToken)
    family = TokenFamily.objects.select_related("user").filter(pk=claims.family_id, user_id=claims.user_id).first()
    return family if family and revoke(family, "logout") else None
