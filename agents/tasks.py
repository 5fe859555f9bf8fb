"""Celery tasks of the agents."""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import async_to_sync
from celery import shared_task

from agents.definitions import deleting
from agents.runs import live as live_runs
from agents.runs import sweep as run_sweep
from aiagents.core import storage


@shared_task(ignore_result=True)
def resume_run(run_id: str) -> None:
    """Continue a run whose tool calls were decided. A second delivery does nothing.

    While the disk is full the run stays parked with its decision, and the sweeper sends it again later.
    """
    if storage.low():
        return
    async_to_sync(live_runs.resume)(UUID(run_id))


@shared_task(ignore_result=True)
def sweep_runs() -> int:
    """End runs whose process died, and continue decided ones. Safe to run twice and in any process."""
    return run_sweep.sweep()


@shared_task(ignore_result=True)
def sweep_deleted() -> int:
    """Erase deleted agents after their retention time. Safe to run twice and in any process."""
    return deleting.sweep()
