"""The input of a model call: vendor-neutral messages, tools and requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["user", "assistant", "tool"]
JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """Exactly one of `data` (base64) and `url` is set; `media_type` such as image/png goes with `data`."""

    media_type: str = ""
    data: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A document (PDF, text) as base64."""

    media_type: str
    data: str
    name: str = "file"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A model's thinking with the vendor's signature. It must be sent back unchanged within a tool loop."""

    text: str
    signature: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call of the model. `arguments` is the JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ToolOutput:
    call_id: str
    name: str
    output: str
    is_error: bool = False


Part = Text | Image | File | Reasoning | ToolUse | ToolOutput


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt. Tool outputs are in a message of role `tool`."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def characters(request: CompletionRequest) -> int:
    """Return the characters of all text and data in the request, which bound the vendor's body. Makes no copy."""
    total = len(request.system)
    for message in request.messages:
        total += sum(part_characters(part) for part in message.parts)
    return total


def part_characters(part: Part) -> int:
    """Return the characters of one part: its text, its base64 and its names."""
    values = (getattr(part, name) for name in type(part).__slots__)
    return sum(len(value) for value in values if isinstance(value, str))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    name: str
    description: str = ""
    parameters: JSON = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to embed, or their token numbers if the vendor accepts them: one vector for each.

    `dimensions` None: the model's default length.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    user: str = ""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A model call without its model: the router chooses that.

    `max_output_tokens` None means the product's default, clamped to the model. `tool_choice` is "auto", "none",
    "required" or a tool's name. `response_format` is None, {"type": "json_object"} or
    {"type": "json_schema", "name", "schema", "strict"}.
    """

    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    max_output_tokens: int | None = None
    response_format: JSON | None = None
    reasoning_effort: str | None = None
    # Passed only to vendors with OpenAI's API, from an allow-list: presence_penalty, frequency_penalty, logit_bias, user…
    extra: JSON = field(default_factory=dict)

    def needs(self) -> frozenset[str]:
        """Return the capabilities that the model must have, out of `vision`, `files`, `tools` and `json`."""
        kinds = {type(part) for message in self.messages for part in message.parts}
        wanted = {"vision": Image in kinds, "files": File in kinds, "tools": bool(self.tools), "json": bool(self.response_format)}
        return frozenset(name for name, on in wanted.items() if on)
