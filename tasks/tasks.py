"""Celery tasks of this app: each takes an id and calls one function."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from tasks import deleting, webhooks
from tasks.runs import due, worker
from tasks.runs import sweep as run_sweep


@shared_task
def run_task(run_id: str) -> None:
    """Pass a queued run to this process's event loop. A redelivered message finds nothing to claim."""
    worker.here().hand_over(lambda crew: crew.run(UUID(run_id)))


@shared_task
def deliver_webhook(delivery_id: str) -> None:
    """Make one attempt to deliver a message."""
    worker.here().hand_over(lambda _: webhooks.deliver(UUID(delivery_id)))


@shared_task
def tick_schedules() -> int:
    """Start the runs that are due. Safe to run twice at the same time."""
    return due.tick()


@shared_task
def sweep_runs() -> int:
    """Recover the runs of dead workers, and runs that wait because a message or decision was lost."""
    return run_sweep.sweep()


@shared_task
def sweep_deleted() -> int:
    """Erase the tasks whose retention has ended. Safe to run twice at the same time."""
    return deleting.sweep()
