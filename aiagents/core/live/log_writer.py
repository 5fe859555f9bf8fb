"""Writes the broadcasts of one event loop into their event logs, in batches of TURN_LOG_BATCH_SECONDS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from uuid import UUID

from django.conf import settings

from aiagents.core.live import liveness
from aiagents.core.live.broadcast import Broadcast
from aiagents.core.live.event_log import EventLog
from aiagents.core.valkey.clients import AWAY

logger = logging.getLogger(__name__)
# Seconds that a writer without news stays.
_IDLE_SECONDS = 1.0
# Lines of one log in one batch.
_MOST_LINES = 2000


class LogWriter:
    """While Valkey is away the buffers of the broadcasts are the log; what it missed is written when it is back."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._behind: set[Broadcast] = set()
        # Ids of which nothing may be written any more.
        self._dropped: set[UUID] = set()
        self._news = asyncio.Event()
        # Set by viewers that wait for the log; and whether the last write of it failed.
        self._urgent, self._away = asyncio.Event(), False
        self._task: asyncio.Task[None] | None = None

    def has_news(self, broadcast: Broadcast) -> None:
        if broadcast.id in self._dropped:
            return
        self._behind.add(broadcast)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"{self._log.prefix} log")

    def hurry(self) -> bool:
        """Write at once: a viewer waits for the log. False where Valkey is away."""
        self._urgent.set()
        return not self._away

    def release(self, broadcast: Broadcast) -> None:
        """Write the broadcast no more: its work has ended."""
        self._behind.discard(broadcast)
        self._dropped.discard(broadcast.id)

    def drop(self, broadcast: Broadcast) -> None:
        """Write nothing of it any more: its rows were deleted. A batch may be on its way, so delete the log after this."""
        self._dropped.add(broadcast.id)
        self._behind.discard(broadcast)
        broadcast.log_reaches(broadcast.last + 1)

    async def delete(self, ids: list[UUID]) -> None:
        try:
            await self._log.delete(ids)
        except AWAY:
            logger.warning("logs_not_deleted")

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), _IDLE_SECONDS)
            except TimeoutError:
                if self._behind:
                    continue
                return
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), settings.TURN_LOG_BATCH_SECONDS)
            self._urgent.clear()
            try:
                await self._write()
                self._away = False
            except AWAY:
                self._away = True
                await asyncio.sleep(liveness.VALKEY_RETRY_SECONDS)
            if self._behind:
                self._news.set()

    async def _write(self) -> None:
        batches = {}
        behind = {broadcast.id: broadcast for broadcast in self._behind}
        for id, broadcast in behind.items():
            if lines := broadcast.unlogged(_MOST_LINES):
                batches[id] = (lines, broadcast.begins_log)
        if batches:
            for id, end in (await self._log.write(batches)).items():
                if id not in self._dropped:
                    behind[id].log_reaches(end + 1)
            if dropped := [id for id in batches if id in self._dropped]:
                await self.delete(dropped)
        self._behind = {broadcast for broadcast in self._behind if not broadcast.is_logged}
