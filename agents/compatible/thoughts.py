"""A model's signed thinking as the `encrypted_content` of a Responses item: for the client opaque, and sent back within a tool loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.messages import Reasoning
from agents.providers import KINDS
from agents.providers.openai.responses_answer import reasoning_item

ENCRYPTED = "reasoning.encrypted_content"


def seal(provider: str, signature: str) -> str:
    """Return the text for a client: whose thinking it is, and the signature."""
    return f"{provider}:{signature.removeprefix(f'{provider}:')}"


def unseal(content: str, text: str) -> Reasoning | None:
    """Return the thinking that a client sends back; None for a text that `seal` did not make."""
    provider, _, signature = content.partition(":")
    if provider not in KINDS or not signature:
        return None
    return Reasoning(text, content if provider == "openai" else signature, provider)


def for_openai(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return an input item as OpenAI made it; None for another vendor's sealed thinking."""
    content = item.get("encrypted_content")
    if item.get("type") != "reasoning" or not isinstance(content, str) or (thought := unseal(content, "")) is None:
        return item
    signed = reasoning_item(thought.signature)
    return None if signed is None else {**item, **signed}
