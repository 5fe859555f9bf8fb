"""Requests of the compatible APIs, and what the vendor's simulator was sent for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agents.simulator import Simulator
from tests.kit.wire import Answer, ask, product

# The endpoints with their field for the conversation.
PATHS = {"/v1/chat/completions": "messages", "/v1/messages": "messages", "/v1/responses": "input"}
CHAT, MESSAGES, RESPONSES = PATHS
# A model of each vendor.
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5", "google": "gemini-2.5-flash"}


@dataclass
class Exchange:
    """The answer of the product, and the bodies that its vendors were sent."""

    answer: Answer
    sent: list[dict[str, Any]]

    @property
    def body(self) -> dict[str, Any]:
        """The one request to a vendor."""
        assert self.answer.status == 200, self.answer.body
        assert len(self.sent) == 1
        return self.sent[0]

    @property
    def text(self) -> str:
        return json.dumps(self.body)


def body_of(path: str, model: str, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    limit = {"max_tokens": 100} if path == MESSAGES else {}
    return {"model": model, PATHS[path]: messages, **limit, **more}


async def exchange(sim: Simulator, key: str, path: str, body: dict[str, Any] | bytes, **headers: str) -> Exchange:
    """Send a body to the product, whose vendors are `sim`."""
    before = len(sim.requests)
    answer = await ask(product, "POST", path, body, headers, key)
    return Exchange(answer, [seen.body for seen in list(sim.requests)[before:] if seen.raw])
