"""Group commit: concurrent settlements of a process share one disk flush.

A synchronous commit keeps its rows locked until the disk has flushed. Every settlement locks the system's budget, so a
database could not settle more calls than its disk can flush. A settlement that runs beside others therefore commits
asynchronously and releases its rows. It then waits for one flush that all concurrent settlements share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from django.db import connection

from aiagents.core.db.calls import in_db, on_postgres

T = TypeVar("T")


async def committed(work: Callable[[bool], Awaitable[T]]) -> T:
    """Return the result of `work(waits)` once its commit is on the database's disk.

    `waits` is True when the commit itself must wait for the disk. A settlement without others beside it waits itself:
    a separate flush would cost it a second round trip.
    """
    here = _loops.setdefault(asyncio.get_running_loop(), _Loop())
    alone = not here.under_way or not on_postgres()
    here.under_way += 1
    try:
        result = await work(alone)
        if not alone:
            await here.flushed()
        return result
    finally:
        here.under_way -= 1


class _Loop:
    def __init__(self) -> None:
        self.under_way = 0
        self.running: asyncio.Task[None] | None = None
        self.following: asyncio.Task[None] | None = None

    async def flushed(self) -> None:
        if self.following is None:
            self.following = asyncio.create_task(self._flush(self.running))
        await asyncio.shield(self.following)

    async def _flush(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        # A settlement that arrives from now on may commit too late for this flush.
        self.running, self.following = self.following, None
        await in_db(_to_disk)


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


def _to_disk() -> None:
    # A synchronous commit also flushes every earlier commit, but a transaction that wrote nothing does not wait.
    # This transaction writes an empty message into the write-ahead log and nothing else.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(TRUE, 'flush', '')")
