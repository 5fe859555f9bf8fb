"""One wait for the disk for many settlements.

A commit that waits for the disk keeps its rows locked meanwhile, and every call settles into the system's budget: on one database
there would be no more settlements than disk flushes. So a settlement that comes while others of its process are under way commits
without waiting, lets go of the rows, and then waits for one flush that it shares with all who came meanwhile.
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
    """What `work(waits)` returns, once its commit is on the database's disk.

    `waits` says whether the commit itself must wait for that: true for whoever is alone, who would only pay a second round trip.
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
        # Whoever comes from now on may have committed too late for this one.
        self.running, self.following = self.following, None
        await in_db(_to_disk)


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


def _to_disk() -> None:
    # The commit of a transaction that wrote something takes every earlier one along; an empty one would not wait. This writes an empty
    # message into the log and nothing else.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(TRUE, 'flush', '')")
