"""Celery's ways into tasks: an id in, one call out."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from tasks import deleting, webhooks
from tasks.runs import due, worker
from tasks.runs import sweep as run_sweep


@shared_task
def run_task(run_id: str) -> None:
    """Hand a queued run to this process's event loop. A second message for it finds nothing to claim."""
    worker.here().hand_over(lambda crew: crew.run(UUID(run_id)))


@shared_task
def deliver_webhook(delivery_id: str) -> None:
    """Try to deliver a message once."""
    worker.here().hand_over(lambda _: webhooks.deliver(UUID(delivery_id)))


@shared_task
def tick_schedules() -> int:
    """Start what is due. Two at once start nothing twice."""
    return due.tick()


@shared_task
def sweep_runs() -> int:
    """Take up what dead workers left, and what a lost message or decision left waiting."""
    return run_sweep.sweep()


@shared_task
def sweep_deleted() -> int:
    """Erase the tasks that were deleted long enough ago. Safe to run twice and anywhere."""
    return deleting.sweep()
