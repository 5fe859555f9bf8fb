"""Celery's ways into the agents."""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import async_to_sync
from celery import shared_task

from agents.definitions import deleting
from agents.runs import service as runner
from agents.runs import sweep as run_sweep
from aiagents.core import storage


@shared_task(ignore_result=True)
def resume_run(run_id: str) -> None:
    """Go on with a run whose tool calls were decided. A second delivery finds nothing to take up.

    While the disk is full the run stays parked, with its decision: the sweeper sends it again.
    """
    if storage.low():
        return
    async_to_sync(runner.resume_to_end)(UUID(run_id))


@shared_task(ignore_result=True)
def sweep_runs() -> int:
    """End the runs whose process died, and take up what was decided. Safe to run twice and anywhere."""
    return run_sweep.sweep()


@shared_task(ignore_result=True)
def sweep_deleted() -> int:
    """Erase the agents that were deleted long enough ago. Safe to run twice and anywhere."""
    return deleting.sweep()
