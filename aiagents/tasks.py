"""The cellar's Celery tasks."""

from __future__ import annotations

from celery import shared_task

from aiagents.core import idempotency


@shared_task(ignore_result=True)
def sweep_idempotency() -> int:
    """Drop answers that are kept no longer."""
    return idempotency.sweep()
