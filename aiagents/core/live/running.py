"""What one event loop works at: each piece until it has ended and its event log is written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.live import liveness
from aiagents.core.live.broadcast import Broadcast
from aiagents.core.live.event_log import EventLog
from aiagents.core.live.log_writer import LogWriter


class Work(Protocol):
    @property
    def broadcast(self) -> Broadcast: ...


W = TypeVar("W", bound=Work)


class Running(Generic[W]):
    """`work` by id. `exists` is a database function: whether the row of the work is there. None: erasing a row calls `forget`."""

    def __init__(self, log: EventLog, exists: Callable[[UUID], bool] | None = None) -> None:
        self.work: dict[UUID, W] = {}
        self.writer = LogWriter(log)
        self._exists = exists
        # Tasks that no caller waits for.
        self.background: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that no caller waits for, kept until it is done."""
        task = asyncio.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return task

    async def store(self, one: W) -> None:
        """Return once the end of the work stands in its row. Override it where that may be later than the end."""

    def retire(self, one: W) -> None:
        """Forget ended work once its log is written. The log goes, too, if the row was erased meanwhile."""
        self.spawn(self._retire(one))

    async def _retire(self, one: W) -> None:
        await self.store(one)
        broadcast = one.broadcast
        await broadcast.log_caught_up(liveness.LOG_PATIENCE_SECONDS)
        if self.work.get(broadcast.id) is not one:  # it goes on here already
            return
        self.writer.release(broadcast)
        self.work.pop(broadcast.id)
        if self._exists is None:
            return
        with contextlib.suppress(Unavailable):
            if not await in_db(self._exists, broadcast.id):
                await self.writer.delete([broadcast.id])

    def forget(self, ids: Iterable[UUID]) -> None:
        """Write nothing more of work whose rows were deleted, and delete its logs."""
        ours = [id for id in ids if id in self.work]
        for id in ours:
            self.writer.drop(self.work[id].broadcast)
        if ours:  # a batch may have been on its way while they were deleted
            self.spawn(self.writer.delete(ours))

    async def settled(self, seconds: float) -> None:
        """Wait until all ended work is forgotten, `seconds` at most."""
        if self.background:
            await asyncio.wait(set(self.background), timeout=seconds)
