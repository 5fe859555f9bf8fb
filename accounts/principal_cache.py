"""A cache of principals in each process, and its invalidation over Valkey.

A cache hit costs no thread hop and no query. An entry lives 5 seconds while this process is subscribed to Valkey, and
1 second otherwise. `announce` invalidates the entries of a user at once, in every process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

import redis
from django.conf import settings
from django.db import transaction

from aiagents.core.live import credential_watch
from aiagents.core.metrics import counting
from aiagents.core.valkey import clients as valkey

log = logging.getLogger(__name__)
CHANNEL = "accounts:changed"
# Seconds.
LIFE, LIFE_ALONE = 5.0, 1.0
PING_EVERY, SILENCE = 1.0, 2.5
MAX_ENTRIES = 10_000


class Cacheable(Protocol):
    @property
    def user_id(self) -> UUID: ...
    @property
    def expires_at(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Any
    subject: str
    stored_at: float


_entries: dict[bytes, _Entry] = {}
_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
_last_message_at = float("-inf")
_changes = 0
_counts = counting.cache("principals")


def get(digest: bytes, subject: str) -> Any:
    """Return the principal stored under the SHA-256 of a whole credential, or None.

    `subject` must match the stored one.
    """
    entry = _entries.get(digest) if settings.CACHE_ENABLED else None
    if entry is None:
        _counts.misses += 1
        return None
    life = LIFE if time.monotonic() - _last_message_at < SILENCE else LIFE_ALONE
    ends = entry.principal.expires_at
    if time.monotonic() - entry.stored_at >= life or (ends is not None and ends <= time.time()):
        _entries.pop(digest, None)
        _counts.misses += 1
        return None
    if entry.subject != subject:
        return None
    _counts.hits += 1
    return entry.principal


def changes() -> int:
    """Return a mark to take before reading the database and to pass to `put`."""
    return _changes


def put(digest: bytes, subject: str, principal: Cacheable, mark: int) -> None:
    """Store a principal, unless a change was announced since `mark`: the principal may be older than the change."""
    _start_listening()
    if mark != _changes or not settings.CACHE_ENABLED:
        return
    if len(_entries) >= MAX_ENTRIES:
        for key in list(_entries)[: MAX_ENTRIES // 10]:
            _entries.pop(key, None)
    _entries[digest] = _Entry(principal, subject, time.monotonic())


def forget(user_id: UUID | None = None) -> None:
    """Drop this process's entries of a user, or all entries."""
    global _changes
    _changes += 1
    for digest, entry in list(_entries.items()):
        if user_id is None or entry.principal.user_id == user_id:
            _entries.pop(digest, None)
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


def _start_listening() -> None:
    loop = asyncio.get_running_loop()
    task = _listeners.get(loop)
    if task is None or task.done():
        _listeners[loop] = loop.create_task(_listen(), name="accounts-changes")


async def _listen() -> None:
    global _last_message_at
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
                    _last_message_at = time.monotonic()
        except (redis.RedisError, OSError) as exc:
            _last_message_at = float("-inf")
            log.info("no subscription to account changes: %s", exc)
        finally:
            await client.aclose()
        await asyncio.sleep(random.uniform(0.2, 1.0))


def _handle(message: dict[str, Any]) -> None:
    if message["type"] == "subscribe":
        forget()  # announcements before the subscription are lost
    elif message["type"] == "message":
        forget(UUID(message["data"].decode()))
