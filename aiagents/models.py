"""The models of the app `aiagents`; Django imports this module."""

from aiagents.core.models import IdempotentAnswer

__all__ = ["IdempotentAnswer"]
