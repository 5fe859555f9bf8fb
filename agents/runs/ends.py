"""Write the end of a run that failed or was interrupted. It is written in the background, so a cancelled caller does not stop it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from agents.models import AgentRun
from agents.runs import store as run_store
from agents.runs.store import Closing
from aiagents.core.errors import Unavailable
from aiagents.core.live.liveness import persist

logger = logging.getLogger(__name__)
Status = AgentRun.Status
# Seconds that the caller waits for the end to be written; after that it is written in the background.
WAIT_SECONDS = 3.0
# Ends that are being written, by run.
_ends: dict[UUID, asyncio.Task[None]] = {}


async def write(run_id: UUID, status: str, closed: list[Closing], values: dict[str, Any]) -> None:
    """Write the end of a run. Return after some seconds at most; `written` waits for it."""
    task = asyncio.create_task(_write(run_id, status, closed, values))
    _ends[run_id] = task
    task.add_done_callback(lambda _: _ends.pop(run_id, None))
    await asyncio.shield(asyncio.wait({task}, timeout=WAIT_SECONDS))


async def written(run_id: UUID) -> None:
    """Wait until the end of a run of this process stands in its row, or was given up to the sweeper."""
    if task := _ends.get(run_id):
        await asyncio.wait({task})


async def _write(run_id: UUID, status: str, closed: list[Closing], values: dict[str, Any]) -> None:
    try:
        if not await persist(run_store.end, run_id, status, closed=closed, **values):
            await persist(run_store.complete, run_id, closed, values)
        if status != Status.SUCCEEDED:
            await persist(run_store.count_from_books, run_id)
    except Unavailable:
        logger.warning("run_end_not_stored", extra={"run_id": str(run_id)})  # the sweeper ends it
    except Exception:
        logger.exception("run_end_not_stored", extra={"run_id": str(run_id)})
