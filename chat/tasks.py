"""Celery's ways into the chat."""

from celery import shared_task

from chat import feedback, turns


@shared_task
def sweep_turns() -> int:
    """End the turns whose web process died. Safe to run twice and anywhere."""
    return turns.sweep()


@shared_task
def weigh_feedback() -> int:
    """Let people's thumbs speak in routing. How many models' standing changed."""
    return feedback.weigh()
