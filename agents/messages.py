"""The input of a model call: vendor-neutral messages, tools and requests, their size, and the upper bound of their tokens.

The bound is for the hold. A tokenizer makes at most one token of each digit or mark, and of two letters in words; letters
without spaces between them (base64, hexadecimal) have up to one token each (docs/adr/0108-token-counts.md has the
measurements). What a prompt should count is agents/counting/. The vendor's count is charged if there is one; charges
without it assume bytes / 4 plus a share for punctuation, because code has many short tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiagents.core import jsonio
from aiagents.core.errors import InvalidRequest, PayloadTooLarge

Role = Literal["user", "assistant", "tool"]
JSON = dict[str, Any]
# A part of the prompt that the vendor is to cache.
Cached = Literal["tools", "system", "conversation"]
BYTES_PER_TOKEN = 4
# The class of each byte: a letter, a space, the start of a four-byte character, the rest of a character, or a digit or mark.
_CLASSES = bytes(
    97 if chr(byte).isascii() and chr(byte).isalpha() else 32 if byte in b" \t\n\r" else 52 if byte > 0xEF else 120 if byte > 0x7F else 49
    for byte in range(256)
)
# Words have a space per seven letters or so; fewer spaces mean that the letters are data.
_LETTERS_PER_SPACE = 12
# Tokens of the role and separators around a message, and of the frame around a tool.
_PER_MESSAGE, _PER_TOOL = 8, 16
# One image, where the model's own rule (agents/counting/images.py) does not say more.
IMAGE_TOKENS = 2048
# A PDF is text and rendered pages; a page of 3,000 tokens weighs 24 KiB at least.
_FILE_BYTES_PER_TOKEN, _FILE_LEAST = 8, 1500
# Prefix of the signature of encrypted thinking, which has no text and which only its vendor can read: its data follows.
REDACTED = "redacted:"
_PUNCTUATION = re.compile(r"[^\w\s]")
# Characters of a text whose punctuation is counted.
_COUNTED_CHARACTERS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """Exactly one of `data` (base64) and `url` is set; `media_type` such as image/png goes with `data`.

    `detail` is how closely the model looks at it, in OpenAI's terms: low, high, auto, original.
    """

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""


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
    """The result of a tool call: its text, and `parts`, its content in order, if it holds images or files."""

    call_id: str
    name: str
    output: str
    is_error: bool = False
    parts: tuple[Text | Image | File, ...] = ()

    @classmethod
    def of(cls, call_id: str, name: str, parts: tuple[Part, ...], *, is_error: bool = False) -> ToolOutput:
        """Return a result with this content. `parts` hold texts, images and files."""
        content = tuple(part for part in parts if isinstance(part, Text | Image | File))
        text = "".join(part.text for part in content if isinstance(part, Text))
        return cls(call_id, name, text, is_error, () if all(isinstance(part, Text) for part in content) else content)

    @property
    def media(self) -> tuple[Image | File, ...]:
        return tuple(part for part in self.parts if not isinstance(part, Text))


Part = Text | Image | File | Reasoning | ToolUse | ToolOutput


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt. Tool outputs are in a message of role `tool`."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    name: str
    description: str = ""
    parameters: JSON = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to embed, or their token numbers if the vendor accepts them: one vector for each.

    `dimensions` None: the model's default length. `task` is what the vectors are for, in Google's terms; other vendors'
    vectors are for everything.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    user: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class NativeBody:
    """The request as its client sent it, for models of the vendor that defines its dialect: they get it unchanged.

    `endpoint` is where a model must answer, as the catalogue has it. `headers` are the client's headers for that vendor.
    `untranslatable` is the error for all other models, None if the neutral request says the same.
    """

    provider: str
    body: Mapping[str, Any]
    endpoint: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    untranslatable: InvalidRequest | None = None


@dataclass(frozen=True, slots=True)
class PricedUse:
    """What of a request has a price of its own, beside the usual prices of its tokens.

    `long_writes`: it may write into the vendor's one-hour cache, which costs more than the usual five minutes. The rest
    holds for models of `provider` at `endpoint`: `mode` is the requested way of processing (billing.pricing.Usage.mode),
    `units` are the tools that the vendor runs and the most calls that a hold covers, `required` is one of them that the
    model must call, `unknown` are the names of fields and kinds of tools that this product does not know.
    """

    long_writes: bool = False
    provider: str = ""
    endpoint: str = ""
    mode: str = ""
    units: tuple[tuple[str, int], ...] = ()
    required: str = ""
    unknown: tuple[str, ...] = ()


NOTHING_PRICED = PricedUse()


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A model call without its model: the router chooses that.

    `max_output_tokens` None means the model's own limit; vendors that do not demand one are sent none. `tool_choice` is "auto", "none",
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
    # Fields that some vendors take, from an allow-list: presence_penalty, top_k, verbosity… Each adapter sends those that it knows.
    extra: JSON = field(default_factory=dict)
    native: NativeBody | None = None
    priced: PricedUse = NOTHING_PRICED
    # Names what this request and its later ones share, so that the vendor caches their common beginning. Empty: no caching
    # of our own.
    cache_key: str = ""
    # What the client has marked for the vendor's cache.
    cached: frozenset[Cached] = frozenset()

    def needs(self) -> frozenset[str]:
        """Return the capabilities that the model must have, out of `vision`, `files`, `tools` and `json`."""
        parts = [part for message in self.messages for part in message.parts]
        kinds = {type(part) for part in parts} | {type(one) for part in parts if isinstance(part, ToolOutput) for one in part.parts}
        wanted = {"vision": Image in kinds, "files": File in kinds, "tools": bool(self.tools), "json": bool(self.response_format)}
        return frozenset(name for name, on in wanted.items() if on)

    def output_limit(self, most: int) -> int:
        """Return the caller's limit on output tokens, at most the model's (`most`; 0: unknown)."""
        requested = self.max_output_tokens or most
        return max(1, min(requested, most) if most > 0 else requested)


class PromptTooLarge(PayloadTooLarge):
    """`details` holds the limit, in characters."""

    code = "prompt_too_large"
    message = "The text and attachments of this model call are too large together."


def characters(request: CompletionRequest) -> int:
    """Return the characters of all text and data in the request, which bound the vendor's body. Makes no copy."""
    total = len(request.system)
    for message in request.messages:
        total += sum(part_characters(part) for part in message.parts)
    return total


def part_characters(part: Part) -> int:
    """Return the characters of one part: its text, its base64 and its names."""
    values = (getattr(part, name) for name in type(part).__slots__)
    own = sum(len(value) for value in values if isinstance(value, str))
    return own + sum(map(part_characters, part.media)) if type(part) is ToolOutput else own


def image_type(name: str) -> str:
    """Return an image's media type as vendors know it: many clients write image/jpg."""
    lower = name.strip().lower()
    return "image/jpeg" if lower in ("image/jpg", "image/pjpeg") else lower


def byte_size(text: str) -> int:
    """Return the number of UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def estimate_text(text: str) -> int:
    """Return the estimated tokens of a text, for display and for charges without a vendor's count."""
    marks = len(_PUNCTUATION.findall(text[:_COUNTED_CHARACTERS]))
    if len(text) > _COUNTED_CHARACTERS:  # extrapolated, to keep very long texts cheap
        marks = marks * len(text) // _COUNTED_CHARACTERS
    return -(-byte_size(text) // BYTES_PER_TOKEN) + marks // 4


def most_tokens(text: str) -> int:
    """Return an upper bound of a text's tokens with the tokenizer of any vendor."""
    classes = text.encode("utf-8", "surrogatepass").translate(_CLASSES)
    letters, spaces, whole = classes.count(b"a"), classes.count(b" "), classes.count(b"1")
    if whole > letters or letters > _LETTERS_PER_SPACE * (spaces + 1):  # data, not words
        whole += letters + min(spaces, whole)
    if not text.isascii():  # emoji and rare characters: a token per byte
        whole += 4 * classes.count(b"4")
    return whole + -(-(len(classes) - whole) // 2)


def estimate_input(request: CompletionRequest) -> int:
    """Return an upper bound of the request's input tokens, for the hold."""
    tokens = _PER_MESSAGE * (len(request.messages) + 1) + most_tokens(request.system)
    for message in request.messages:
        tokens += sum(map(_most_tokens_of, message.parts))
    tokens += _PER_TOOL * len(request.tools)
    for tool in request.tools:
        tokens += most_tokens(tool.name) + most_tokens(tool.description) + _most_tokens_of_json(tool.parameters)
    if request.response_format:
        tokens += _most_tokens_of_json(request.response_format)
    return tokens


def images_of(request: CompletionRequest) -> int:
    """Return the number of images in messages and tool results."""
    parts = (part for message in request.messages for part in message.parts)
    return sum(type(one) is Image for part in parts for one in ((part, *part.parts) if type(part) is ToolOutput else (part,)))


def estimate_embedding(request: EmbeddingRequest) -> int:
    """Return an upper bound of an embedding request's tokens, for the hold."""
    return sum(len(one) if isinstance(one, tuple) else 1 + most_tokens(one) for one in request.inputs)


def typical(estimate: int) -> int:
    """Return the likely tokens for an upper bound: for windows and for comparing prices, not for charges."""
    return max(1, estimate // 2)


def _most_tokens_of_json(value: Any) -> int:
    return most_tokens(jsonio.dumps(value).decode())


def _most_tokens_of(part: Part) -> int:
    match part:
        case Text():
            return most_tokens(part.text)
        case Image():
            return IMAGE_TOKENS
        case File():
            return max(_FILE_LEAST, len(part.data) * 3 // 4 // _FILE_BYTES_PER_TOKEN)
        case ToolUse():
            return most_tokens(part.name) + most_tokens(part.arguments) + _PER_TOOL
        case ToolOutput():
            return most_tokens(part.output) + _PER_TOOL + sum(map(_most_tokens_of, part.media))
        case Reasoning():
            return most_tokens(part.text) + -(-len(part.signature) // 2)
