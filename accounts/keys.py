"""API keys. No other module handles raw keys."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts import audit, hooks, principals
from accounts.models import ApiKey, User
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Conflict, InvalidRequest, PermissionDenied, Unavailable
from aiagents.core.live import news
from aiagents.core.ratelimit import buckets

log = logging.getLogger(__name__)
PREFIX = "aia_"
MAX_PER_USER = 100
# Seconds between two writes of a key's last use, and the delay of such a write.
NOTE_EVERY, NOTE_AFTER = 60, 5
_SHAPE = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_used: set[UUID] = set()
last_use_noted_at: dict[UUID, float] = {}
_timers: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.TimerHandle] = WeakKeyDictionary()


def create(
    user: User,
    *,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
    monthly_budget_usd: Decimal | None = None,
    rate_limit: int | None = None,
    creator_scopes: frozenset[str] | None = None,
    ip: str = "",
) -> tuple[ApiKey, str]:
    """Create a key; return it and its raw form, which is not stored and cannot be shown again.

    `creator_scopes`: the scopes of the API key that makes the request; None: a signed-in user. Raises PermissionDenied
    for scopes that this key lacks, InvalidRequest for bad values, Conflict at the maximum of keys.
    """
    wanted = sorted(set(scopes))
    if not wanted or set(wanted) - set(ApiKey.Scope.values):
        raise InvalidRequest("scopes must contain one or more of: " + ", ".join(ApiKey.Scope.values) + ".", param="scopes")
    if creator_scopes is not None and not set(wanted) <= creator_scopes:
        raise PermissionDenied("An API key cannot create a key with scopes that it lacks.")
    if rate_limit is not None and not 1 <= rate_limit <= (most := buckets.of_role(user.role)):
        raise InvalidRequest(f"rate_limit must be 1 to {most} requests per window.", param="rate_limit")
    raw = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        User.objects.hold(user.pk)
        if ApiKey.objects.filter(user=user, revoked_at=None).count() >= MAX_PER_USER:
            raise Conflict(f"You have {MAX_PER_USER} keys, the maximum. Revoke one first.", code="too_many_keys")
        key = ApiKey.objects.create(
            user=user, name=name, prefix=raw[:12], digest=digest(raw), scopes=wanted, expires_at=expires_at, rate_limit=rate_limit
        )
        if monthly_budget_usd is not None:
            hooks.set_key_budget(key.id, monthly_budget_usd)
        audit.record("api_key.create", actor=user, target=key, ip=ip, details={"name": name, "scopes": wanted})
    return key, raw


def digest(raw: str) -> str:
    """Return the digest of a key that is stored. SHA-256 is enough, because 256 random bits cannot be guessed."""
    return hashlib.sha256(raw.encode()).hexdigest()


def find(raw: str) -> ApiKey | None:
    """Return the valid key with this raw form, with its user; None if there is none."""
    if not _SHAPE.fullmatch(raw):
        return None
    return ApiKey.objects.live().select_related("user").filter(digest=digest(raw)).first()


def revoke(key: ApiKey, *, actor: User | None, ip: str = "") -> bool:
    """Revoke a key at once, in every process. Returns False if it had ended before."""
    with transaction.atomic():
        ended = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=Now())
        if ended:
            audit.record("api_key.revoke", actor=actor, target=key, ip=ip)
            news.send(key.user_id, news.Kind.CREDENTIAL_ENDED, key.pk)
    principals.announce(key.user_id)
    return bool(ended)


def write_use(ids: Iterable[UUID]) -> None:
    """Write `last_used_at` of the keys, except of those with a value from the last minute."""
    stale = Q(last_used_at=None) | Q(last_used_at__lt=Now() - timedelta(seconds=NOTE_EVERY))
    with transaction.atomic():
        # Skip rows that another process is updating: it writes the same, and two batches cannot deadlock.
        due = ApiKey.objects.select_for_update(skip_locked=True).filter(stale, pk__in=list(ids))
        ApiKey.objects.filter(pk__in=list(due.values_list("pk", flat=True))).update(last_used_at=Now())


def note_use_now(key_id: UUID) -> None:
    """Write a use at once, unless this process did so in the last minute. For code in a database thread."""
    if _first_this_minute(key_id):
        write_use([key_id])


def note_use(key_id: UUID) -> None:
    """Queue a use. The event loop writes all queued uses in one batch later, outside of the request."""
    if not _first_this_minute(key_id):
        return
    _used.add(key_id)
    loop = asyncio.get_running_loop()
    timer = _timers.get(loop)
    if timer is None or timer.when() < loop.time():
        _timers[loop] = loop.call_later(NOTE_AFTER, lambda: loop.create_task(flush_uses()))


def _first_this_minute(key_id: UUID) -> bool:
    now = time.monotonic()
    if now - last_use_noted_at.get(key_id, float("-inf")) < NOTE_EVERY:
        return False
    if len(last_use_noted_at) >= 10_000:
        last_use_noted_at.clear()
    last_use_noted_at[key_id] = now
    return True


async def flush_uses() -> None:
    """Write the queued uses now."""
    ids = set(_used)
    _used.difference_update(ids)
    try:
        if ids:
            await in_db(write_use, ids)
    except Unavailable:
        log.warning("the last use of %s API keys was not written", len(ids))
