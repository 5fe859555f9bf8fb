"""The tables of the app `aiagents`, for Django, which looks for them here."""

from aiagents.core.models import IdempotentAnswer

__all__ = ["IdempotentAnswer"]
