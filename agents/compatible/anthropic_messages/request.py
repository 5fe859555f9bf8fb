"""Anthropic's message body → our request. Source: docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.compatible import reading
from agents.compatible.reading import JSON, invalid
from agents.messages import CompletionRequest, File, Image, Message, Part, Reasoning, Text, ToolOutput, ToolSpec, ToolUse
from aiagents.core.jsonio import dumps

_KNOWN = {
    "model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences", "tools", "tool_choice",
    "metadata", "thinking", "output_config", "service_tier", "cache_control",
}  # fmt: skip
# All accepted fields.
FIELDS = frozenset(_KNOWN)
_EFFORTS = {"low", "medium", "high", "xhigh", "max"}


@dataclass(frozen=True, slots=True)
class MessageCall:
    """The parsed body: the model call and the form of its answer."""

    request: CompletionRequest
    model: str
    stream: bool


def read(body: JSON, *, counting: bool = False) -> MessageCall:
    """Parse the body. Raises InvalidRequest (400) with the name of the invalid field.

    `counting`: the body is for counting tokens, so max_tokens may be missing.
    """
    reading.refuse_unknown(body, _KNOWN)
    limit = reading.integer(body, "max_tokens", 1, 10_000_000)
    if limit is None and not counting:
        raise invalid("max_tokens", "Field required", "missing")
    choice, parallel = _tool_choice(body.get("tool_choice"))
    config = reading.mapping(body.get("output_config") or {}, "output_config")
    request = CompletionRequest(
        messages=_messages(reading.items(body, "messages", reading.MAX_MESSAGES, required=True)),
        system=_system(body),
        tools=tuple(_tool(item, number) for number, item in enumerate(reading.items(body, "tools", reading.MAX_TOOLS))),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        temperature=reading.number(body, "temperature", 0, 1),
        top_p=reading.number(body, "top_p", 0, 1),
        stop=reading.strings(body, "stop_sequences", 16),
        max_output_tokens=limit,
        response_format=_format(config.get("format")),
        reasoning_effort=reading.choice(config, "effort", _EFFORTS) or _thinking(body.get("thinking")),
    )
    return MessageCall(request, reading.text(body, "model", required=True, longest=200), bool(reading.flag(body, "stream")))


def _system(body: JSON) -> str:
    if isinstance(body.get("system"), str):
        return str(body["system"])
    blocks = reading.items(body, "system", reading.MAX_PARTS)
    return "\n\n".join(reading.text(block, "text", required=True, longest=10_000_000, at="system.") for block in blocks)


def _messages(items: list[JSON]) -> tuple[Message, ...]:
    messages: list[Message] = []
    names: dict[str, str] = {}
    for number, item in enumerate(items):
        at = f"messages[{number}]."
        role = item.get("role")
        if role not in ("user", "assistant"):
            raise invalid(at + "role", "must be user or assistant")
        parts = _blocks(item, at, names)
        outputs = tuple(part for part in parts if isinstance(part, ToolOutput))
        if outputs:
            messages.append(Message("tool", outputs))
        rest = tuple(part for part in parts if not isinstance(part, ToolOutput))
        if rest:
            messages.append(Message(role, rest))
    return tuple(messages)


def _blocks(item: JSON, at: str, names: dict[str, str]) -> tuple[Part, ...]:
    if isinstance(item.get("content"), str):
        return (Text(item["content"]),)
    parts: list[Part] = []
    for number, block in enumerate(reading.items(item, "content", reading.MAX_PARTS, required=True, at=at)):
        where = f"{at}content[{number}]."
        match block.get("type"):
            case "text":
                parts.append(Text(reading.text(block, "text", longest=10_000_000, at=where)))
            case "image":
                parts.append(_image(reading.mapping(block.get("source"), where + "source"), where))
            case "document":
                parts.append(_document(reading.mapping(block.get("source"), where + "source"), block, where))
            case "thinking":
                signature = reading.text(block, "signature", at=where)
                parts.append(Reasoning(reading.text(block, "thinking", at=where), signature, "anthropic" if signature else ""))
            case "redacted_thinking":
                continue  # only the vendor can decrypt it, and it may be left out
            case "tool_use":
                name = reading.text(block, "name", required=True, longest=200, at=where)
                call_id = reading.text(block, "id", required=True, longest=200, at=where)
                names[call_id] = name
                parts.append(ToolUse(call_id, name, dumps(reading.mapping(block.get("input") or {}, where + "input")).decode()))
            case "tool_result":
                call_id = reading.text(block, "tool_use_id", required=True, longest=200, at=where)
                parts.append(ToolOutput(call_id, names.get(call_id, call_id), _result(block, where), bool(reading.flag(block, "is_error"))))
            case kind:
                raise invalid(where + "type", f"{str(kind)[:40]} is not supported", "unsupported_value")
    return tuple(parts)


def _result(block: JSON, at: str) -> str:
    content = block.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(reading.text(item, "text", at=at + "content.") for item in reading.items(block, "content", reading.MAX_PARTS, at=at))


def _image(source: JSON, at: str) -> Image:
    if source.get("type") == "url":
        return reading.image_from_url(reading.text(source, "url", required=True, at=at + "source."), at + "source.url")
    media_type = reading.text(source, "media_type", required=True, longest=100, at=at + "source.")
    return reading.base64_image(
        media_type, reading.text(source, "data", required=True, longest=20_000_000, at=at + "source."), at + "source.data"
    )


def _document(source: JSON, block: JSON, at: str) -> Part:
    title = reading.text(block, "title", longest=500, at=at)
    if source.get("type") == "text":
        return Text(reading.text(source, "data", required=True, longest=10_000_000, at=at + "source."))
    if source.get("type") != "base64":
        raise invalid(at + "source.type", "must be base64 or text", "unsupported_value")
    media_type = reading.text(source, "media_type", required=True, longest=100, at=at + "source.")
    return File(media_type, reading.text(source, "data", required=True, longest=20_000_000, at=at + "source."), title or "document")


def _tool(item: JSON, number: int) -> ToolSpec:
    at = f"tools[{number}]."
    if item.get("type") not in (None, "custom"):
        raise invalid(at + "type", "only custom tools are supported", "unsupported_value")
    return ToolSpec(
        name=reading.text(item, "name", required=True, longest=128, at=at),
        description=reading.text(item, "description", longest=20_000, at=at),
        parameters=reading.mapping(item.get("input_schema"), at + "input_schema"),
    )


def _tool_choice(value: Any) -> tuple[str, bool | None]:
    if value is None:
        return "auto", None
    choice = reading.mapping(value, "tool_choice")
    parallel = False if reading.flag(choice, "disable_parallel_tool_use") else None
    match choice.get("type"):
        case "auto" | "none":
            return str(choice["type"]), parallel
        case "any":
            return "required", parallel
        case "tool":
            return reading.text(choice, "name", required=True, longest=128, at="tool_choice."), parallel
    raise invalid("tool_choice.type", "must be auto, any, tool or none")


def _thinking(value: Any) -> str | None:
    """Return a budget of thinking tokens as an effort, which the models of all vendors understand."""
    if value is None:
        return None
    thinking = reading.mapping(value, "thinking")
    match thinking.get("type"):
        case "disabled":
            return None
        case "adaptive":
            return "medium"
        case "enabled":
            budget = reading.integer(thinking, "budget_tokens", 1024, 10_000_000)
            if budget is None:
                raise invalid("thinking.budget_tokens", "Field required", "missing")
            return "low" if budget < 4096 else "medium" if budget < 16384 else "high"
    raise invalid("thinking.type", "must be enabled, adaptive or disabled")


def _format(value: Any) -> JSON | None:
    if value is None:
        return None
    wanted = reading.mapping(value, "output_config.format")
    if wanted.get("type") != "json_schema":
        raise invalid("output_config.format.type", "must be json_schema")
    return {
        "type": "json_schema",
        "name": "output",
        "schema": reading.mapping(wanted.get("schema"), "output_config.format.schema"),
        "strict": True,
    }
