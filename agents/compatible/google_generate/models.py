"""The list of models in the shape that Google's clients read. Source: ai.google.dev/api/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from aiagents.core.errors import InvalidRequest
from billing.catalogue.snapshot import ModelCard

_USUAL_PAGE, _LARGEST_PAGE = 50, 1000
_CHAT, _EMBEDDINGS = ["generateContent", "streamGenerateContent", "countTokens"], ["embedContent", "batchEmbedContents"]


class Model(TypedDict, total=False):
    name: str
    displayName: str
    description: str
    version: str
    inputTokenLimit: int
    outputTokenLimit: int
    supportedGenerationMethods: list[str]
    thinking: bool


class Page(TypedDict, total=False):
    models: list[Model]
    nextPageToken: str


def model(row: Mapping[str, Any], card: ModelCard | None) -> Model:
    """Return one model. `auto` and agents have no card, and so no limits."""
    methods = _EMBEDDINGS if row["kind"] == "embeddings" else _CHAT
    found: Model = {
        "name": f"models/{row['id']}", "displayName": row["display_name"], "version": row["id"], "supportedGenerationMethods": methods,
    }  # fmt: skip
    if card is not None:
        limits: Model = {
            "inputTokenLimit": card.context_window, "outputTokenLimit": card.max_output_tokens,
            "thinking": "reasoning" in card.capabilities,
        }  # fmt: skip
        found |= limits
    return found


def page(models: Sequence[Model], query: Mapping[str, str]) -> Page:
    """Return the page that `pageSize` and `pageToken` name. Raises InvalidRequest (400) for values that this list did not make."""
    size, start = _number(query, "pageSize", _USUAL_PAGE), _number(query, "pageToken", 0)
    size = min(size or _USUAL_PAGE, _LARGEST_PAGE)
    found: Page = {"models": list(models[start : start + size])}
    if start + size < len(models):
        found["nextPageToken"] = str(start + size)
    return found


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or ""
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise InvalidRequest(f"{name} must be a number that this list gave.", param=name)
    return int(text)
