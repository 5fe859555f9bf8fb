"""The SDKs' type of each request, and how real clients differ from the types.

The SDKs are imported at the first request: they take a second, and a simulator without a strict check needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from agents.simulator.rules.shapes import Check, Object, check_of, fields_of, object_of

# Fields beyond the types that clients send and the vendor takes. Codex sends client_metadata (seen with 0.171.0). `stream`
# stands in the types of the two variants.
_BEYOND: Mapping[str, Mapping[str, Any]] = {
    "responses": {"client_metadata": dict[str, str], "stream": bool},
    "chat": {"stream": bool},
    "messages": {"stream": bool},
    # Removed from the types with the version 2026-10-21 of the API.
    "messages, older": {"temperature": float, "top_p": float, "top_k": int},
}
SAMPLING_GONE = "2026-10-21"


@dataclass(frozen=True, slots=True)
class Request:
    """Which API a request is of: chat, responses, messages, count_tokens, embeddings, gemini. `version` is Anthropic's."""

    api: str
    version: str = ""
    beta: bool = False

    @property
    def takes_sampling(self) -> bool:
        return bool(self.version) and self.version < SAMPLING_GONE


@cache
def shape_of(request: Request) -> Object:
    """Return the fields of a request."""
    if request.api == "gemini":
        return _gemini()
    found = object_of(_type_of(request))
    more = dict(_BEYOND.get(request.api, {}))
    if request.api == "messages" and request.takes_sampling:
        more |= _BEYOND["messages, older"]
    kept: dict[str, Check] = {name: check for name, check in found.fields.items() if name != "betas"}
    return replace(found, fields=kept | {name: check_of(kind) for name, kind in more.items()})


def _type_of(request: Request) -> Any:
    match request.api:
        case "chat":
            from openai.types.chat.completion_create_params import CompletionCreateParamsBase

            return CompletionCreateParamsBase
        case "responses":
            from openai.types.responses.response_create_params import ResponseCreateParamsBase

            return ResponseCreateParamsBase
        case "embeddings":
            from openai.types.embedding_create_params import EmbeddingCreateParams

            return EmbeddingCreateParams
        case "count_tokens":
            from anthropic.types import beta, message_count_tokens_params

            of_beta = beta.message_count_tokens_params.MessageCountTokensParams
            return of_beta if request.beta else message_count_tokens_params.MessageCountTokensParams
        case "messages":
            from anthropic.types import message_create_params
            from anthropic.types.beta import message_create_params as of_beta_messages

            return (of_beta_messages if request.beta else message_create_params).MessageCreateParamsBase
    raise ValueError(request.api)


def _gemini_fields() -> Mapping[str, Any]:
    """Return the fields of Gemini's body, which the SDK's converters write; its own type has the arguments of a Python call."""
    from google.genai import types

    return {
        "contents": list[types.Content], "systemInstruction": types.Content, "tools": list[types.Tool], "toolConfig": types.ToolConfig,
        "safetySettings": list[types.SafetySetting], "cachedContent": str, "serviceTier": types.ServiceTier, "store": bool,
        "generationConfig": types.GenerationConfig, "labels": dict[str, str], "continuationToken": str,
    }  # fmt: skip


def _gemini() -> Object:
    checks = {name: check_of(kind) for name, kind in _gemini_fields().items()}
    return Object(checks | {_snake(name): check for name, check in checks.items()}, frozenset({"contents"}), {})


def _snake(camel: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in camel)


def fields(request: Request) -> frozenset[str]:
    """Return the names of the fields that the locked SDK's type has."""
    names = _gemini_fields() if request.api == "gemini" else fields_of(_type_of(request))
    return frozenset(names) - {"betas"}  # a header
