"""Principals: authenticated callers, and the cache of them in each process with its invalidation over Valkey.

A cache hit costs no thread hop and no query. An entry lives 5 seconds while this process is subscribed to Valkey, and
1 second otherwise. `announce` invalidates the entries of a user at once, in every process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakKeyDictionary

import redis
from django.conf import settings
from django.db import transaction

from aiagents.core.live import credential_watch
from aiagents.core.metrics import counting
from aiagents.core.ratelimit import buckets
from aiagents.core.valkey import clients as valkey

if TYPE_CHECKING:  # the models announce their changes here
    from accounts.models import ApiKey, TokenFamily, User

log = logging.getLogger(__name__)
CHANNEL = "accounts:changed"
# Seconds.
LIFE, LIFE_ALONE = 5.0, 1.0
PING_EVERY, SILENCE = 1.0, 2.5
MAX_ENTRIES = 10_000


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


def of_key(key: ApiKey) -> Principal:
    """Return the principal of a valid API key, which has its user loaded."""
    return Principal(
        key.user,
        key.user.auth_epoch,
        key_id=key.id,
        scopes=frozenset(key.scopes) & frozenset(key.Scope.values),
        # The current limit also applies to a key that was created with a higher one.
        rate_limit=min(key.rate_limit, buckets.of_role(key.user.role)) if key.rate_limit else None,
        expires_at=key.expires_at.timestamp() if key.expires_at else None,
    )


def of_family(family: TokenFamily, *, expires_at: float | None) -> Principal:
    """Return the principal of a session of tokens, which has its user loaded."""
    return Principal(family.user, family.user.auth_epoch, expires_at=expires_at, family_id=family.id)


def of_session(user: User, session_key: str) -> Principal:
    """Return the principal of a staff member in a browser session."""
    return Principal(user, user.auth_epoch, session_key=session_key)


def of_account(
    user: User, *, key_id: UUID | None = None, scopes: frozenset[str] | None = None, expires_at: float | None = None
) -> Principal:
    """Return the principal of work for a user without a caller, such as tasks.

    `key_id`: the API key that is charged.
    """
    return Principal(user, user.auth_epoch, key_id=key_id, scopes=scopes, expires_at=expires_at)


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    subject: str
    stored_at: float


cached_principals: dict[bytes, _Entry] = {}
_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
last_message_at = float("-inf")
_changes = 0
_counts = counting.cache("principals")


def get(digest: bytes, subject: str) -> Principal | None:
    """Return the principal stored under the SHA-256 of a whole credential, or None.

    `subject` must match the stored one.
    """
    entry = cached_principals.get(digest) if settings.CACHE_ENABLED else None
    if entry is None:
        _counts.misses += 1
        return None
    life = LIFE if time.monotonic() - last_message_at < SILENCE else LIFE_ALONE
    ends = entry.principal.expires_at
    if time.monotonic() - entry.stored_at >= life or (ends is not None and ends <= time.time()):
        cached_principals.pop(digest, None)
        _counts.misses += 1
        return None
    if entry.subject != subject:
        return None
    _counts.hits += 1
    return entry.principal


def changes() -> int:
    """Return a mark to take before reading the database and to pass to `put`."""
    return _changes


def put(digest: bytes, subject: str, principal: Principal, mark: int) -> None:
    """Store a principal, unless a change was announced since `mark`: the principal may be older than the change."""
    start_listening()
    if mark != _changes or not settings.CACHE_ENABLED:
        return
    if len(cached_principals) >= MAX_ENTRIES:
        for key in list(cached_principals)[: MAX_ENTRIES // 10]:
            cached_principals.pop(key, None)
    cached_principals[digest] = _Entry(principal, subject, time.monotonic())


def forget(user_id: UUID | None = None) -> None:
    """Drop this process's entries of a user, or all entries."""
    global _changes
    _changes += 1
    for digest, entry in list(cached_principals.items()):
        if user_id is None or entry.principal.user_id == user_id:
            cached_principals.pop(digest, None)
    credential_watch.look_at(user_id)


def announce(user_id: UUID) -> None:
    """Drop a user's entries in every process, now and after the commit: permissions, sessions or keys changed."""
    forget(user_id)
    transaction.on_commit(partial(_publish, user_id))


def _publish(user_id: UUID) -> None:
    forget(user_id)
    try:
        valkey.sync_client().publish(CHANNEL, str(user_id))
    except redis.RedisError:
        log.warning("Valkey is unreachable: other processes see a change of an account within %s s", LIFE_ALONE)


def start_listening() -> None:
    loop = asyncio.get_running_loop()
    task = _listeners.get(loop)
    if task is None or task.done():
        _listeners[loop] = loop.create_task(_listen(), name="accounts-changes")


async def _listen() -> None:
    global last_message_at
    while not valkey.cancelled():
        client = valkey.blocking_client()
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(CHANNEL)
                while not valkey.cancelled():
                    message = await pubsub.get_message(timeout=PING_EVERY)
                    if message is None:
                        await pubsub.ping()  # the reply is a message; without one for SILENCE seconds the subscription is lost
                        continue
                    _handle(message)
                    last_message_at = time.monotonic()
        except (redis.RedisError, OSError) as exc:
            last_message_at = float("-inf")
            log.info("no subscription to account changes: %s", exc)
        finally:
            await client.aclose()
        await asyncio.sleep(random.uniform(0.2, 1.0))


def _handle(message: dict[str, Any]) -> None:
    if message["type"] == "subscribe":
        forget()  # announcements before the subscription are lost
    elif message["type"] == "message":
        forget(UUID(message["data"].decode()))
