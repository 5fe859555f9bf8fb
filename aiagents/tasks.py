"""Celery tasks of the core."""

from __future__ import annotations

from celery import shared_task

from aiagents.core import idempotency


@shared_task(ignore_result=True)
def sweep_idempotency() -> int:
    """Delete expired responses of idempotent requests; return how many."""
    return idempotency.sweep()
