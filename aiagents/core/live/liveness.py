"""What live work does while PostgreSQL or Valkey is away: how often it tries again, and what ends the wait.

Work that goes on keeps its events in memory and says over Valkey that it lives (outage_heartbeat.py). What must be written is tried
again until it is written, or until its patience is over; a sweeper then ends the work by what its row and its log hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import ParamSpec, TypeVar
from uuid import UUID

from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.live import outage_heartbeat

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)
# Seconds between two tries to write to a database that is away, and to reach a Valkey that is away.
DATABASE_RETRY_SECONDS, VALKEY_RETRY_SECONDS = 0.5, 1.0
# Seconds that a step of an agent's run waits for the database before the run breaks off.
STEP_PATIENCE_SECONDS = 30.0
# Seconds that the events of ended work wait for a Valkey that is away.
LOG_PATIENCE_SECONDS = 30.0


async def persist(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a repeatable database function as one step of a run, waiting for the database STEP_PATIENCE_SECONDS at most.

    Raises Unavailable after that.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STEP_PATIENCE_SECONDS
    while True:
        try:
            return await in_db(function, *args, **kwargs)
        except Unavailable:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(DATABASE_RETRY_SECONDS)


async def persist_at_last(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a repeatable database function, however long the database is away: the end of work that its owner keeps alive."""
    while True:
        try:
            return await in_db(function, *args, **kwargs)
        except Unavailable:
            await asyncio.sleep(DATABASE_RETRY_SECONDS)


async def beat(work: Awaitable[T], kind: str, living: Iterable[UUID], silence_seconds: float) -> tuple[bool, T | None]:
    """Write one heartbeat; whether it was written, and its result. One that failed is followed by the next one."""
    try:
        return True, await outage_heartbeat.beat(work, kind, living, silence_seconds)
    except Unavailable:
        return False, None
    except Exception:
        logger.exception("heartbeat_failed", extra={"kind": kind})
        return False, None
