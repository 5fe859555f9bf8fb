"""Celery's ways into the chat."""

from celery import shared_task

from chat import turns


@shared_task
def sweep_turns() -> int:
    """End the turns whose web process died. Safe to run twice and anywhere."""
    return turns.sweep()
