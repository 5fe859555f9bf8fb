"""OpenAI's Responses body → our request. References to earlier answers are replaced before (`kept.py`).

Source: platform.openai.com/docs/api-reference/responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.compatible import call_ids, reading, thoughts
from agents.compatible.openai_chat.request import EFFORTS
from agents.compatible.openai_responses import kept
from agents.compatible.reading import JSON, invalid
from agents.messages import CompletionRequest, File, Message, NativeBody, Part, PricedUse, Text, ToolOutput, ToolSpec, ToolUse
from agents.providers.openai.responses import CALL_ID
from agents.providers.parts import CallIds
from aiagents.core.errors import InvalidRequest
from aiagents.core.jsonio import dumps

# Accepted without effect: they control the vendor's own storage, caching or the details of its answer.
_IGNORED = {
    "metadata",
    "client_metadata",
    "include",
    "truncation",
    "stream_options",
}
_KNOWN = {
    "model", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens",
    "temperature", "top_p", "text", "reasoning", "store", "user",
    "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
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
}
# The main fields, for the OpenAPI document. OpenAI's models at Responses get every other field, too.
FIELDS = frozenset(_KNOWN | _UNSUPPORTED.keys())
# Tools that the vendor runs on things of the company's account, or on servers that the caller names.
_HOSTED = ("file_search", "mcp")
# Tools that the vendor runs at a price. A model without a price for one is not offered it.
_PRICED_TOOLS = ("web_search", "code_interpreter", "image_generation")
# Tools that the caller runs, or that only group others.
_CLIENT_TOOLS = (
    "function",
    "custom",
    "shell",
    "local_shell",
    "apply_patch",
    "namespace",
    "tool_search",
    "computer",
    "computer_use_preview",
)
# Names of things in the company's account at the vendor, which may be another user's.
_REFERENCES = ("file_id", "file_ids", "container_id", "vector_store_ids")
# Under these keys stand a caller's own names, which may be any.
_SCHEMAS = {"parameters", "input_schema", "schema", "format"}


@dataclass(frozen=True, slots=True)
class ResponseCall:
    """The parsed body: the model call and the form of its answer. `before` are the ids of the answers before it."""

    request: CompletionRequest
    model: str
    stream: bool
    body: JSON
    before: tuple[str, ...] = ()


def read_unless_it_refers(body: JSON, *, counting: bool = False) -> ResponseCall | Mapping[str, Any]:
    """Parse the body; return it as it is if `kept.expanded` must replace references in it first."""
    return body if kept.enabled() and kept.refers(body) else read(body, counting=counting)


def read(body: JSON, *, counting: bool = False) -> ResponseCall:
    """Parse the body. Raises InvalidRequest (400) with the name of the invalid field.

    `counting`: the body is for counting tokens, so the model may be missing, or the input beside instructions.
    """
    if not isinstance(body.get("previous_response_id"), str | None):
        raise invalid("previous_response_id", "must be a string", "invalid_type")
    for name in _UNSUPPORTED.keys() & body.keys():
        if body[name] not in (None, False):
            raise InvalidRequest(f"{name} is not supported: {_UNSUPPORTED[name]}", param=name, code="unsupported_parameter")
    reading.flag(body, "store")
    native_only = reading.NativeOnly()
    native_only.fields(body, FIELDS)
    without_input = counting and body.get("input") is None and ("instructions" in body or "tools" in body)
    system, messages = ("", ()) if without_input else _input(body, native_only)
    instructions = reading.text(body, "instructions", longest=10_000_000)
    reasoning = reading.mapping(body.get("reasoning") or {}, "reasoning")
    text = reading.mapping(body.get("text") or {}, "text")
    offered: list[str] = []
    tools = _offered(reading.items(body, "tools"), "tools", offered)
    native = _native(body, tools, offered)
    extra: JSON = {}
    reading.add_passed(extra, body)
    reading.add_verbosity(extra, text)
    request = CompletionRequest(
        messages=messages,
        system="\n\n".join(filter(None, (instructions, system))),
        tools=tuple(spec for number, item in enumerate(tools) if (spec := _tool(item, number, native_only))),
        tool_choice=_tool_choice(body.get("tool_choice"), native_only),
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls", None),
        temperature=reading.number(body, "temperature", 0, 2),
        top_p=reading.number(body, "top_p", 0, 1),
        max_output_tokens=reading.integer(body, "max_output_tokens", 1, 10_000_000),
        response_format=_format(text.get("format")),
        reasoning_effort=reading.choice(reasoning, "effort", EFFORTS),
        extra=extra,
        native=NativeBody("openai", native, "responses", (), native_only.error),
        priced=_priced(body, offered),
    )
    model = "" if counting and body.get("model") is None else reading.model(body)
    return ResponseCall(request, model, bool(reading.flag(body, "stream")), body)


def _priced(body: JSON, offered: Sequence[str]) -> PricedUse:
    limit = reading.integer(body, "max_tool_calls", 0, 1_000_000)
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    most = reading.SEARCHES if limit is None else min(limit, 1000)
    return PricedUse(
        provider="openai", endpoint="responses", mode=reading.service_mode(body),
        units=tuple((name, most) for name in dict.fromkeys(offered) if name in _PRICED_TOOLS),
        required=_unit(kind) if isinstance(kind, str) else "",
        unknown=reading.unknown([
            *(name for name in body if name not in FIELDS and name != "max_tool_calls"),
            *(f"tools.{kind}" for kind in offered if kind not in _PRICED_TOOLS),
        ]),
    )  # fmt: skip


def _unit(kind: str) -> str:
    """Return the name of a priced tool of this kind, without a date or `_preview`; empty for any other tool."""
    return next((name for name in _PRICED_TOOLS if kind.startswith(name)), "")


def _native(body: JSON, tools: Sequence[Mapping[str, Any]], offered: list[str]) -> Mapping[str, Any]:
    """Return the body for OpenAI, with ids and thinking as that vendor knows them; `offered` collects the kinds of its tools."""
    native = {name: value for name, value in body.items() if name != "tools" or tools}
    if tools:
        native["tools"] = tools
    if isinstance(body.get("input"), list):
        ids = CallIds(CALL_ID)
        items = [_checked(item, f"input[{number}].", offered) for number, item in enumerate(body["input"])]
        native["input"] = [_with_id(found, ids) for item in items if (found := thoughts.for_openai(item))]
    return native


def _checked(item: Mapping[str, Any], at: str, offered: list[str]) -> Mapping[str, Any]:
    """Return an input item with the tools that may be offered. Raises InvalidRequest for a reference into the vendor's account."""
    _refuse_references(item, at)
    return {**item, "tools": _offered(reading.items(dict(item), "tools", at=at), at + "tools", offered)} if "tools" in item else item


def _refuse_references(value: object, at: str) -> None:
    if isinstance(value, list):
        for number, one in enumerate(value):
            _refuse_references(one, f"{at.removesuffix('.')}[{number}].")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _REFERENCES and inner is not None:
                raise reading.unsupported_parameter(at + name, "send the bytes")
            if name not in _SCHEMAS:
                _refuse_references(inner, f"{at}{name}.")


def _offered(tools: Sequence[JSON], at: str, offered: list[str]) -> Sequence[Mapping[str, Any]]:
    """Return the tools, and add to `offered` the kinds of those that OpenAI runs at a price or that are unknown, also in namespaces.

    Raises InvalidRequest for a tool that OpenAI runs on things of the company's account.
    """
    found = []
    for number, tool in enumerate(tools):
        where, kind, environment = f"{at}[{number}].", tool.get("type"), tool.get("environment")
        remote = isinstance(environment, Mapping) and environment.get("type") not in (None, "local")
        if not isinstance(kind, str) or kind.startswith(_HOSTED) or remote:
            raise invalid(where + "type", f"{str(kind)[:40]} is not supported here: the caller runs all tools", "unsupported_value")
        if unit := _unit(kind):
            _refuse_references(tool, where)
            if isinstance(tool.get("container"), str):
                raise reading.unsupported_parameter(where + "container", "the vendor makes one")
            offered.append(unit)
        elif kind not in _CLIENT_TOOLS:
            offered.append(kind)
        inner = _offered(reading.items(tool, "tools", at=where), where + "tools", offered) if "tools" in tool else None
        found.append(tool if inner is None else tool | {"tools": inner})
    return found


def _with_id(item: Mapping[str, Any], ids: CallIds) -> Mapping[str, Any]:
    """Return the item with an id of its call that fits, without another vendor's signature."""
    if not isinstance(given := item.get("call_id"), str):
        return item
    own = call_ids.split(given)[0]
    is_result = str(item.get("type")).endswith("_output")
    return {**item, "call_id": ids.of_result(ToolOutput(own, "", "")) if is_result else ids.of_call(ToolUse(own, "", ""))}


def _input(body: JSON, native_only: reading.NativeOnly) -> tuple[str, tuple[Message, ...]]:
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
            case str():
                native_only(invalid(at + "type", f"{str(item['type'])[:40]} is not supported by this model", "unsupported_value"))
                _append(messages, "user", Text(dumps(item).decode()))  # for its size
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


def _tool(item: Mapping[str, Any], number: int, native_only: reading.NativeOnly) -> ToolSpec | None:
    at = f"tools[{number}]."
    if _unit(item["type"]):
        return None  # a model that cannot have it is not offered it
    if item["type"] != "function":
        native_only(invalid(at + "type", "this model takes only function tools", "unsupported_value"))
        return None
    schema = item.get("parameters")
    return ToolSpec(
        name=reading.text(item, "name", required=True, longest=64, at=at),
        description=reading.text(item, "description", longest=20_000, at=at),
        parameters=reading.mapping(schema, at + "parameters") if schema is not None else {"type": "object", "properties": {}},
        strict=bool(reading.flag(item, "strict")),
    )


def _tool_choice(value: Any, native_only: reading.NativeOnly) -> str:
    if value in (None, "auto", "none", "required"):
        return value or "auto"
    if isinstance(value, dict) and value.get("type") == "function" and isinstance(value.get("name"), str):
        return str(value["name"])
    error = invalid("tool_choice", 'must be "auto", "none", "required" or name a function')
    if not isinstance(value, dict) or value.get("type") not in ("custom", "allowed_tools", "shell", "apply_patch"):
        if isinstance(value, dict) and isinstance(kind := value.get("type"), str) and _unit(kind):
            return "auto"  # only a model that has a price for this tool takes the request
        raise error
    native_only(error)
    return "auto"


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
