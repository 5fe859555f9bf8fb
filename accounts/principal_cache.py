"""Principals remembered for a few seconds, and the news that ends them early, in every process.

A cache hit costs no thread hop and no query. It lives 5 seconds while this process hears Valkey, 1 second while it does
not, and ends at once when `announce` says that something about its user changed.
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
_heard_at = float("-inf")
_changes = 0
_counts = counting.cache("principals")


def get(digest: bytes, subject: str) -> Any:
    """The principal stored under the SHA-256 of a whole credential, or None. `subject` is compared, not trusted."""
    entry = _entries.get(digest) if settings.CACHE_ENABLED else None
    if entry is None:
        _counts.misses += 1
        return None
    life = LIFE if time.monotonic() - _heard_at < SILENCE else LIFE_ALONE
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
    """A mark to take before reading the database and to give to `put`."""
    return _changes


def put(digest: bytes, subject: str, principal: Cacheable, mark: int) -> None:
    """Remember, unless some change was announced since `mark`: the reading may be older than the change."""
    _start_listening()
    if mark != _changes or not settings.CACHE_ENABLED:
        return
    if len(_entries) >= MAX_ENTRIES:
        for key in list(_entries)[: MAX_ENTRIES // 10]:
            _entries.pop(key, None)
    _entries[digest] = _Entry(principal, subject, time.monotonic())


def forget(user_id: UUID | None = None) -> None:
    """Drop what this process remembers of a user, or everything."""
    global _changes
    _changes += 1
    for digest, entry in list(_entries.items()):
        if user_id is None or entry.principal.user_id == user_id:
            _entries.pop(digest, None)
    credential_watch.look_at(user_id)


def announce(user_id: UUID) -> None:
    """Something about this user's rights, sessions or keys changed: every process forgets, now and after the commit."""
    forget(user_id)
    transaction.on_commit(partial(_publish, user_id))


def _publish(user_id: UUID) -> None:
    forget(user_id)
    try:
        valkey.sync_client().publish(CHANNEL, str(user_id))
    except redis.RedisError:
        log.warning("Valkey is away: other processes learn of a change within %s s", LIFE_ALONE)


def _start_listening() -> None:
    loop = asyncio.get_running_loop()
    task = _listeners.get(loop)
    if task is None or task.done():
        _listeners[loop] = loop.create_task(_listen(), name="accounts-changes")


async def _listen() -> None:
    global _heard_at
    while not valkey.cancelled():
        client = valkey.blocking_client()
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(CHANNEL)
                while not valkey.cancelled():
                    message = await pubsub.get_message(timeout=PING_EVERY)
                    if message is None:
                        await pubsub.ping()  # the answer comes as a message; none for SILENCE seconds: we are alone
                        continue
                    _hear(message)
                    _heard_at = time.monotonic()
        except (redis.RedisError, OSError) as exc:
            _heard_at = float("-inf")
            log.info("not listening for account changes: %s", exc)
        finally:
            await client.aclose()
        await asyncio.sleep(random.uniform(0.2, 1.0))


def _hear(message: dict[str, Any]) -> None:
    if message["type"] == "subscribe":
        forget()  # what was said before we listened is lost
    elif message["type"] == "message":
        forget(UUID(message["data"].decode()))
