"""The OpenAPI document of the whole product: DRF's views and the endpoints beside Django."""

from __future__ import annotations

from typing import Any

from aiagents import endpoints
from aiagents.core.drf import schema
from chat.api.frames import FRAMES, AuthFrame
from chat.turn_request import ConversationSettings


def add_endpoints(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """The document with the endpoints beside Django; drf-spectacular's setting POSTPROCESSING_HOOKS names this."""
    return schema.add_endpoints(result, endpoints.HTTP, (ConversationSettings, AuthFrame, *FRAMES.values()))
