"""aiagents: the self-hosted backend between people, programs and AI models."""

from aiagents.celery import app as celery_app

__all__ = ["celery_app"]
