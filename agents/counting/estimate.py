"""The input tokens of a request as its model should count them, without a vendor call. The hold is another number: an upper bound.

OpenAI documents how messages and tools are counted (cookbook, "How to count tokens with tiktoken"); Anthropic documents the
prompt that it adds for tools. docs/adr/0108-token-counts.md has the sources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.counting import images, kinds, tokenizer
from agents.counting.kinds import Tokenizer
from agents.messages import REDACTED, CompletionRequest, File, Image, Part, Reasoning, Text, ToolOutput, ToolSpec, ToolUse, characters
from aiagents.core import jsonio

Schema = Mapping[str, Any]
# Longer requests are counted in a thread, which takes Python's lock for a few milliseconds at a time.
_IN_PLACE = 32 * 1024
# A page of a PDF: its text, and its picture where the vendor adds one. Sources: both vendors' pages about PDFs.
_PAGE_TOKENS, _PAGE_BYTES, _PDF_LEAST = {"google": 258}, 48 * 1024, 1500
# Tokens around each message and around the whole prompt.
_FRAMES = {"openai": (4, 3), "openai_compatible": (4, 3), "anthropic": (4, 2), "google": (0, 1)}
_ANTHROPIC_TOOLS, _ANTHROPIC_FORCED_TOOL = 346, 313


@dataclass(frozen=True, slots=True)
class Counted:
    """The model that a prompt is counted for."""

    provider: str
    model: str

    @property
    def tokenizer(self) -> Tokenizer:
        return kinds.of(self.provider, self.model)


async def tokens(request: CompletionRequest, model: Counted) -> int:
    """Return the estimated input tokens. Blocks the event loop for milliseconds at most."""
    size = characters(request) + sum(len(tool.description) for tool in request.tools)
    if (
        size > _IN_PLACE or request.tools or not tokenizer.loaded(model.tokenizer.encoding)
    ):  # a schema's size is unknown until it is written
        return await asyncio.to_thread(_tokens, request, model)
    return _tokens(request, model)


def _tokens(request: CompletionRequest, model: Counted) -> int:
    around, whole = _FRAMES.get(model.provider, (4, 3))
    count = model.tokenizer.count
    total = whole + around * len(request.messages)
    if request.system:
        # OpenAI's system prompt is a message.
        total += count(request.system) + (around if model.provider.startswith("openai") else 0)
    for message in request.messages:
        total += sum(_part(part, model) for part in message.parts)
    if request.tools:
        total += _tools(request, model)
    if request.response_format:
        total += count(jsonio.dumps(request.response_format.get("schema") or {}).decode())
    return total


def _part(part: Part, model: Counted) -> int:
    count = model.tokenizer.count
    match part:
        case Text():
            return count(part.text)
        case Image():
            return images.tokens(part, model.provider, model.model)
        case File(media_type="application/pdf"):
            pages = max(1, len(part.data) * 3 // 4 // _PAGE_BYTES)
            return pages * _PAGE_TOKENS.get(model.provider, _PDF_LEAST)
        case File():
            return len(part.data) * 3 // 4 // 4
        case ToolUse():
            return count(part.name) + count(part.arguments) + 8
        case ToolOutput():
            return count(part.output) + 8 + sum(_part(one, model) for one in part.media)
        case Reasoning():
            # What only the vendor can read is longer than the thinking that it encrypts: base64, 4 characters a token at most.
            return len(part.signature) // 6 if part.signature.startswith(REDACTED) else count(part.text)


def _tools(request: CompletionRequest, model: Counted) -> int:
    count = model.tokenizer.count
    if model.provider == "anthropic":
        added = _ANTHROPIC_TOOLS if request.tool_choice in ("auto", "none") else _ANTHROPIC_FORCED_TOOL
        return added + sum(count(_definition(tool)) for tool in request.tools)
    if model.provider == "google":
        return sum(count(_definition(tool)) for tool in request.tools)
    opening = 10 if model.tokenizer is kinds.CL100K else 7
    return 12 + sum(opening + sum(map(count, _lines(tool))) + _shape_tokens(tool.parameters) for tool in request.tools)


def _definition(tool: ToolSpec) -> str:
    definition = {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
    return jsonio.dumps(definition).decode()


def _lines(tool: ToolSpec) -> Iterator[str]:
    """Yield the text of a tool as OpenAI's models see it: names, types and descriptions, without the schema's own words."""
    yield f"{tool.name}:{tool.description.removesuffix('.')}"
    yield from _properties(tool.parameters)


def _properties(schema: Any) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    for name, inner in _named(schema).items():
        known = inner if isinstance(inner, Mapping) else {}
        yield f"{name}:{_text(known.get('type'))}:{_text(known.get('description')).removesuffix('.')}"
        yield from (_text(one) for one in _values(known))
        yield from _properties(known)
    if "items" in schema:
        yield from _properties(schema["items"])
    for other in ("anyOf", "oneOf", "allOf", "$defs", "definitions"):
        if other in schema:
            yield jsonio.dumps(schema[other]).decode()


def _shape_tokens(schema: Any) -> int:
    """Return the tokens between names and types, by OpenAI's published count."""
    if not isinstance(schema, Mapping):
        return 0
    total = _shape_tokens(schema["items"]) if "items" in schema else 0
    if named := _named(schema):
        total += 3
    for inner in named.values():
        total += 3 + _shape_tokens(inner)
        if values := _values(inner if isinstance(inner, Mapping) else {}):
            total += 3 * len(values) - 3
    return total


def _named(schema: Schema) -> Schema:
    """Return the properties by their names, as the schema has them."""
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _values(schema: Schema) -> list[Any]:
    found = schema.get("enum")
    return found if isinstance(found, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else jsonio.dumps(value).decode()
