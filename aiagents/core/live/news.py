"""News: short messages over the channel layer that say what changed, for a user's sockets, staff's sockets or processes.

A message names a kind and an id, never content. The layer may lose it, so its receiver reads the present state from the
API or the database. Sending neither waits nor fails: one thread of the process sends, what it cannot send is dropped, and
what it has to send is bounded.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.db import transaction

from aiagents.core.metrics import counters as metrics
from aiagents.core.valkey import clients as valkey

log = logging.getLogger(__name__)
# Seconds for which news are collected, so that a burst is one command, and of silence after a failure.
BATCH_SECONDS, PAUSE_SECONDS = 0.05, 1.0
# News that wait for the thread. More are dropped.
MOST_WAITING = 1000


class Kind(StrEnum):
    """What a user's sockets are sent; docs/streaming.md says what each id names. A closed list."""

    ALERT_CHANGED = "alert.changed"
    APPROVAL_WANTED = "approval.wanted"
    APPROVAL_DECIDED = "approval.decided"
    CONVERSATION_CHANGED = "conversation.changed"
    CONVERSATION_DELETED = "conversation.deleted"
    CONVERSATION_TITLED = "conversation.titled"
    CREDENTIAL_ENDED = "credential.ended"
    # The socket itself sends this one, after an outage of the layer.
    NEWS_LOST = "news.lost"
    RUN_CHANGED = "run.changed"
    TASK_CHANGED = "task.changed"


def user_group(user_id: UUID) -> str:
    return f"user.{user_id}"


def send(user_id: UUID, kind: Kind, id: UUID) -> None:
    """Send news to the user's sockets when the present transaction is committed; at once where there is none. For sync code."""
    transaction.on_commit(partial(send_now, user_id, kind, id))


def send_now(user_id: UUID, kind: Kind, id: UUID) -> None:
    """Send news to the user's sockets at once. What changed must be committed already."""
    outbox.put(user_group(user_id), "user.news", (kind.value, str(id)))


class Outbox:
    """News that wait to be sent, and the thread that sends them.

    A thread, because Valkey may answer late and callers, some of them on an event loop, must not wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, str], dict[tuple[str, str], None]] = {}
        self._count = 0
        self._thread: threading.Thread | None = None
        self._silent_until = float("-inf")
        self._away = False

    def put(self, group: str, message_type: str, item: tuple[str, str]) -> None:
        """Have the item sent. The same item again is one message. Dropped while the layer is away or too much waits."""
        with self._changed:
            if self._count >= MOST_WAITING or time.monotonic() < self._silent_until:
                metrics.NEWS_DROPPED.inc()
                return
            items = self._waiting.setdefault((group, message_type), {})
            self._count += item not in items
            items[item] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="news", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
            time.sleep(BATCH_SECONDS)
            with self._changed:
                batch, self._waiting, self._count = self._waiting, {}, 0
            try:
                _deliver(batch)
            except Exception as exc:
                self._failed(exc, sum(map(len, batch.values())))
            else:
                self._away = False

    def _failed(self, exc: Exception, count: int) -> None:
        """Drop what waits and be silent for a while: a layer that hangs must not keep the memory of all news."""
        metrics.NEWS_DROPPED.inc(count)
        if not self._away:
            log.warning("news_not_sent", extra={"reason": type(exc).__name__})
        self._away = True
        with self._changed:
            metrics.NEWS_DROPPED.inc(self._count)
            self._waiting, self._count = {}, 0
            self._silent_until = time.monotonic() + PAUSE_SECONDS


def _deliver(batch: dict[tuple[str, str], dict[tuple[str, str], None]]) -> None:
    """Send one message to each group."""
    layer: Any = get_channel_layer()
    messages = [(group, {"type": kind, "news": [list(item) for item in items]}) for (group, kind), items in batch.items()]
    layer.send_to_groups(valkey.sync_client(), messages)


outbox = Outbox()


def install() -> None:
    """Let a forked child send by a thread of its own: its parent's does not exist there."""
    os.register_at_fork(after_in_child=forget_after_fork)


def forget_after_fork() -> None:
    global outbox
    outbox = Outbox()
