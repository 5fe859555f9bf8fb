"""Celery's ways into the chat."""

from celery import shared_task

from chat.conversations import deleting, feedback
from chat.turns import service as turns


@shared_task
def sweep_turns() -> int:
    """End the turns whose web process died. Safe to run twice and anywhere."""
    return turns.sweep()


@shared_task
def sweep_deleted() -> int:
    """Erase the conversations that were deleted long enough ago. Safe to run twice and anywhere."""
    return deleting.sweep()


@shared_task
def weigh_feedback() -> int:
    """Let people's thumbs speak in routing. How many models' standing changed."""
    return feedback.weigh()
