"""OpenAI's Responses body → our request. Stateless: no response is stored under its id.

Source: platform.openai.com/docs/api-reference/responses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.compatible import reading, thoughts
from agents.compatible.openai_chat.request import EFFORTS
from agents.compatible.reading import JSON, invalid
from agents.messages import CompletionRequest, File, Message, Part, Text, ToolOutput, ToolSpec, ToolUse
from aiagents.core.errors import InvalidRequest

# Accepted without effect: they control the vendor's own storage, caching or the details of its answer.
_IGNORED = {
    "store",
    "metadata",
    "include",
    "truncation",
    "stream_options",
}
_KNOWN = {
    "model", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens",
    "temperature", "top_p", "text", "reasoning", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "user",
    *_IGNORED,
}  # fmt: skip
_NOT_STORED = (
    "responses are not stored here. Send the whole conversation in `input`, the output items of earlier answers included, "
    "or use /api/v1/chat, which stores conversations."
)
# Refused fields, with what to do instead: a field that changes the answer is never dropped silently.
_UNSUPPORTED = {
    "previous_response_id": _NOT_STORED,
    "conversation": _NOT_STORED,
    "background": "a response ends with its request here. Stream it, or create a task at /api/v1/tasks/.",
    "prompt": "prompts stored at a vendor are not available here. Send `instructions` and `input`.",
    "max_tool_calls": "the caller runs the tools here and can count their calls.",
    "top_logprobs": "log probabilities are not available.",
    "context_management": "the whole input is sent unchanged. Shorten it in the request.",
}
# All fields that a body may have, including those that are refused unless they are null or false.
FIELDS = frozenset(_KNOWN | _UNSUPPORTED.keys())


@dataclass(frozen=True, slots=True)
class ResponseCall:
    """The parsed body: the model call and the form of its answer."""

    request: CompletionRequest
    model: str
    stream: bool
    body: JSON


def read(body: JSON) -> ResponseCall:
    """Parse the body. Raises InvalidRequest (400) with the name of the invalid field."""
    for name in _UNSUPPORTED.keys() & body.keys():
        if body[name] not in (None, False):
            raise InvalidRequest(f"{name} is not supported: {_UNSUPPORTED[name]}", param=name, code="unsupported_parameter")
    reading.refuse_unknown(body, _KNOWN | _UNSUPPORTED.keys())
    system, messages = _input(body)
    instructions = reading.text(body, "instructions", longest=10_000_000)
    reasoning = reading.mapping(body.get("reasoning") or {}, "reasoning")
    text = reading.mapping(body.get("text") or {}, "text")
    extra: JSON = {}
    reading.add_passed(extra, body)
    reading.add_verbosity(extra, text)
    request = CompletionRequest(
        messages=messages,
        system="\n\n".join(filter(None, (instructions, system))),
        tools=tuple(_tool(item, number) for number, item in enumerate(reading.items(body, "tools"))),
        tool_choice=_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls", None),
        temperature=reading.number(body, "temperature", 0, 2),
        top_p=reading.number(body, "top_p", 0, 1),
        max_output_tokens=reading.integer(body, "max_output_tokens", 1, 10_000_000),
        response_format=_format(text.get("format")),
        reasoning_effort=reading.choice(reasoning, "effort", EFFORTS),
        extra=extra,
    )
    return ResponseCall(request, reading.model(body), bool(reading.flag(body, "stream")), body)


def _input(body: JSON) -> tuple[str, tuple[Message, ...]]:
    if isinstance(body.get("input"), str) and body["input"]:
        return "", (Message("user", (Text(body["input"]),)),)
    system: list[str] = []
    messages: list[Message] = []
    names: dict[str, str] = {}
    for number, item in enumerate(reading.items(body, "input", required=True)):
        at = f"input[{number}]."
        match item.get("type", "message"):
            case "message":
                role = item.get("role")
                parts = _content(item, at)
                if role in ("system", "developer"):
                    system.append("".join(part.text for part in parts if isinstance(part, Text)))
                elif role in ("user", "assistant"):
                    messages.append(Message(role, parts))
                else:
                    raise invalid(at + "role", "must be user, assistant, system or developer")
            case "function_call":
                name = reading.text(item, "name", required=True, longest=200, at=at)
                call_id, signature = reading.call_id(item, "call_id", at=at)
                names[call_id] = name
                _append(messages, "assistant", ToolUse(call_id, name, reading.text(item, "arguments", at=at) or "{}", signature))
            case "function_call_output":
                call_id, _ = reading.call_id(item, "call_id", at=at)
                _append(messages, "tool", ToolOutput.of(call_id, names.get(call_id, call_id), _content(item, at, "output")))
            case "reasoning":
                encrypted = reading.text(item, "encrypted_content", longest=10_000_000, at=at)
                summary = reading.items(item, "summary", at=at)
                text = "".join(reading.text(part, "text", longest=10_000_000, at=at + "summary.") for part in summary)
                if thought := thoughts.unseal(encrypted, text):  # without it no vendor takes the thinking back
                    _append(messages, "assistant", thought)
            case "item_reference":
                raise invalid(
                    at + "id", "responses are not stored here, so their items cannot be referenced. "
                    "Send the items themselves; most clients do with `store` set to false", "unsupported_value",
                )  # fmt: skip
            case kind:
                raise invalid(at + "type", f"{str(kind)[:40]} is not supported", "unsupported_value")
    if not messages:
        raise invalid("input", "must hold at least one message that is not a system message")
    return "\n\n".join(filter(None, system)), tuple(messages)


def _append(messages: list[Message], role: Any, part: Part) -> None:
    if messages and messages[-1].role == role:
        messages[-1] = Message(role, (*messages[-1].parts, part))
    else:
        messages.append(Message(role, (part,)))


def _content(item: JSON, at: str, field: str = "content") -> tuple[Part, ...]:
    if isinstance(item.get(field), str):
        return (Text(item[field]),)
    parts: list[Part] = []
    for number, part in enumerate(reading.items(item, field, required=True, at=at)):
        where = f"{at}{field}[{number}]."
        match part.get("type"):
            case "input_text" | "output_text" | "text":
                parts.append(Text(reading.text(part, "text", longest=10_000_000, at=where)))
            case "refusal":
                parts.append(Text(reading.text(part, "refusal", at=where)))
            case "input_image":
                parts.append(
                    reading.image_from_url(
                        reading.text(part, "image_url", required=True, longest=20_000_000, at=where),
                        where + "image_url",
                        reading.image_detail(part, where),
                    )
                )
            case "input_file":
                reading.refuse_file_reference(part, where)
                data = reading.text(part, "file_data", required=True, longest=20_000_000, at=where)
                head, comma, encoded = data.partition(",")
                media_type = head.removeprefix("data:").partition(";")[0] if comma else "application/pdf"
                parts.append(File(media_type, encoded if comma else data, reading.text(part, "filename", longest=200, at=where) or "file"))
            case kind:
                raise invalid(where + "type", f"{str(kind)[:40]} is not supported", "unsupported_value")
    return tuple(parts)


def _tool(item: JSON, number: int) -> ToolSpec:
    at = f"tools[{number}]."
    if item.get("type") != "function":
        raise invalid(at + "type", "only function tools are supported", "unsupported_value")
    schema = item.get("parameters")
    return ToolSpec(
        name=reading.text(item, "name", required=True, longest=64, at=at),
        description=reading.text(item, "description", longest=20_000, at=at),
        parameters=reading.mapping(schema, at + "parameters") if schema is not None else {"type": "object", "properties": {}},
        strict=bool(reading.flag(item, "strict")),
    )


def _tool_choice(value: Any) -> str:
    if value in (None, "auto", "none", "required"):
        return value or "auto"
    if isinstance(value, dict) and value.get("type") == "function" and isinstance(value.get("name"), str):
        return str(value["name"])
    raise invalid("tool_choice", 'must be "auto", "none", "required" or name a function')


def _format(value: Any) -> JSON | None:
    if value is None:
        return None
    wanted = reading.mapping(value, "text.format")
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            return {
                "type": "json_schema",
                "name": reading.text(wanted, "name", required=True, longest=64, at="text.format."),
                "schema": reading.mapping(wanted.get("schema") or {}, "text.format.schema"),
                "strict": bool(reading.flag(wanted, "strict")),
            }
    raise invalid("text.format.type", "must be text, json_object or json_schema")
