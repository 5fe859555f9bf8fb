"""Anthropic's message body → our request. Source: docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.compatible import call_ids, reading
from agents.compatible.reading import JSON, invalid
from agents.messages import (
    REDACTED,
    CompletionRequest,
    File,
    Image,
    Message,
    NativeBody,
    Part,
    PricedUse,
    Reasoning,
    Text,
    ToolOutput,
    ToolSpec,
    ToolUse,
    image_type,
)
from agents.providers.openai.responses_answer import SIGNED
from agents.providers.openai.schemas import is_strict
from agents.providers.parts import CALL_ID, CallIds
from aiagents.core.errors import InvalidRequest
from aiagents.core.jsonio import dumps

# Fields that a request may have for a model of any vendor; some have no effect elsewhere (docs/wires.md).
_TRANSLATED = {
    "model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences", "tools", "tool_choice",
    "metadata", "thinking", "output_config", "service_tier", "cache_control", "context_management", "diagnostics",
}  # fmt: skip
# The main fields, for the OpenAPI document. Anthropic's models get every other field, too.
FIELDS = frozenset(_TRANSLATED)
# Fields that would reach what belongs to other users of the company's account at the vendor, or that cost more than the
# catalogue's prices say. The value that is allowed all the same, if there is one.
REFUSED: dict[str, tuple[object, ...]] = {
    "container": (), "mcp_servers": (), "thread": (), "fallback_credit_token": (), "user_profile_id": (), "workspace_id": (),
    "fallbacks": (), "billing_policy": (),
}  # fmt: skip
# Fields that choose a way of processing with prices of its own, and their values at the standard price.
_MODES = {"speed": "standard", "inference_geo": "global"}
# The main fields that Anthropic's models have beyond the translated ones. All others are unknown to this product.
_KNOWN = _TRANSLATED | _MODES.keys() | REFUSED.keys()
# Kinds of tools that the vendor runs at no extra price, or that the client runs; after the first _ comes a date.
_PLAIN_TOOLS = ("custom", "bash_", "text_editor_", "memory_", "computer_", "tool_search_tool_", "web_fetch_")
# Kinds of tools that the vendor runs at a price: web searches are counted in its usage, containers are not.
_PRICED_TOOLS = ("web_search", "code_execution")
_HEADERS = ("anthropic-beta", "anthropic-version")
_MOST_HEADER = 2000
_EFFORTS = {"low", "medium", "high", "xhigh", "max"}


@dataclass(frozen=True, slots=True)
class MessageCall:
    """The parsed body: the model call and the form of its answer."""

    request: CompletionRequest
    model: str
    stream: bool


def vendor_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the client's headers that Anthropic is to see."""
    return tuple((name, headers[name][:_MOST_HEADER]) for name in _HEADERS if headers.get(name))


def read(body: JSON, *, counting: bool = False, headers: tuple[tuple[str, str], ...] = ()) -> MessageCall:
    """Parse the body. Raises InvalidRequest (400) with the name of the invalid field.

    `counting`: the body is for counting tokens, so max_tokens may be missing. `headers`: see `vendor_headers`.
    """
    priced = _priced_use(body, long_writes=_checked(body))
    limit = reading.integer(body, "max_tokens", 1, 10_000_000)
    if limit is None and not counting:
        raise invalid("max_tokens", "Field required", "missing")
    choice, parallel = _tool_choice(body.get("tool_choice"))
    config = reading.mapping(body.get("output_config") or {}, "output_config")
    native_only = reading.NativeOnly()
    native_only.fields(body, _TRANSLATED)
    system = _system(body, native_only)
    in_place, messages = _messages(reading.items(body, "messages", required=True), native_only)
    tools = reading.items(body, "tools")
    _make_native(body)
    request = CompletionRequest(
        messages=messages,
        system="\n\n".join(filter(None, (system, *in_place))),
        tools=tuple(spec for number, item in enumerate(tools) if (spec := _tool(item, number, native_only))),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        temperature=reading.number(body, "temperature", 0, 1),
        top_p=reading.number(body, "top_p", 0, 1),
        stop=reading.strings(body, "stop_sequences", 16),
        max_output_tokens=limit,
        response_format=_format(config.get("format")),
        reasoning_effort=_effort(reading.choice(config, "effort", _EFFORTS), _thinking(body.get("thinking"))),
        native=NativeBody("anthropic", body, "", headers, native_only.error),
        priced=priced,
        extra={} if (top_k := reading.integer(body, "top_k", 1, 1_000_000)) is None else {"top_k": top_k},
    )
    return MessageCall(request, reading.model(body), bool(reading.flag(body, "stream")))


def _checked(body: JSON) -> bool:
    """Return whether the body may write into the one-hour cache.

    Raises InvalidRequest for a field or block that may not reach Anthropic. It looks at all blocks, nested ones included.
    """
    if body.get("thread") is not None:
        # With these details Anthropic's own tool runner goes on without threads.
        details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
        raise InvalidRequest("thread is not supported here.", param="thread", code="unsupported_parameter", details=details)
    for name, allowed in REFUSED.items():
        if body.get(name) is not None and body[name] not in allowed:
            raise reading.unsupported_parameter(name)
    blocks = [block for field in ("system", "tools") for block in _blocks_in(body.get(field))]
    for message in _objects(body.get("messages")):
        blocks += [message, *_blocks_in(message.get("content"))]
    for block in blocks:
        source = block.get("source")
        if block.get("type") == "container_upload" or (isinstance(source, Mapping) and source.get("type") == "file"):
            raise reading.unsupported_parameter("file_id", "send the file itself")
    durations = [mark.get("ttl") for one in (body, *blocks) if isinstance(mark := one.get("cache_control"), Mapping)]
    if any(duration not in (None, "5m", "1h") for duration in durations):
        raise reading.unsupported_parameter("cache_control.ttl", "only 5m and 1h have a price")
    return "1h" in durations


def _priced_use(body: JSON, *, long_writes: bool) -> PricedUse:
    """Return what of the body has a price of its own: the way of processing, tools that the vendor runs, what is unknown."""
    modes = []
    for name, standard in _MODES.items():
        value = body.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid(name, "must be a string", "invalid_type")
        if value and value != standard:
            modes.append(f"{name}={value[:40]}")
    units: dict[str, int] = {}
    required, unknown = "", [name for name in body if name not in _KNOWN]
    choice = body.get("tool_choice")
    for tool in _objects(body.get("tools")):
        kind = tool.get("type")
        if not isinstance(kind, str) or kind.startswith(_PLAIN_TOOLS):
            continue
        if (unit := next((name for name in _PRICED_TOOLS if kind.startswith(name)), None)) is None:
            unknown.append(f"tools.{kind}")
            continue
        uses = tool.get("max_uses")
        most = uses if isinstance(uses, int) and not isinstance(uses, bool) and 0 <= uses <= 1000 else reading.SEARCHES
        units[unit] = units.get(unit, 0) + most
        if isinstance(choice, Mapping) and choice.get("type") == "tool" and choice.get("name") == tool.get("name"):
            required = unit
    return PricedUse(
        long_writes=long_writes, provider="anthropic", mode="+".join(sorted(modes)), units=tuple(units.items()), required=required,
        unknown=reading.unknown(unknown),
    )  # fmt: skip


def _blocks_in(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield the blocks of a content, and those inside of them: in the results of tools, and in documents made of blocks."""
    for block in _objects(value):
        yield block
        yield from _blocks_in(block.get("content"))
        if isinstance(source := block.get("source"), Mapping):
            yield from _blocks_in(source.get("content"))


def _objects(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else ()


def _make_native(body: JSON) -> None:
    """Change in place what another vendor's answers left in the messages and Anthropic refuses.

    Ids of tool calls are made to fit, without another vendor's signature in them. Thinking that Anthropic did not sign is
    left out, and a message that held nothing else with it.
    """
    ids = CallIds(CALL_ID, unique=True)
    emptied = []
    for message in body["messages"]:
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            match block:
                case {"type": "tool_use", "id": str(given)}:
                    block["id"] = ids.of_call(ToolUse(call_ids.split(given)[0], "", ""))
                case {"type": "tool_result", "tool_use_id": str(given)}:
                    block["tool_use_id"] = ids.of_result(ToolOutput(call_ids.split(given)[0], "", ""))
        if isinstance(content, list) and any(_is_foreign(block) for block in content):
            message["content"] = [block for block in content if not _is_foreign(block)]
            if not message["content"]:
                emptied.append(id(message))
    if emptied:
        body["messages"] = [message for message in body["messages"] if id(message) not in emptied]


def _is_foreign(block: JSON) -> bool:
    if block.get("type") != "thinking":
        return False
    signature = block.get("signature") or ""
    return not signature or signature.startswith(SIGNED)


def _system(body: JSON, native_only: reading.NativeOnly) -> str:
    if isinstance(body.get("system"), str):
        return str(body["system"])
    return _text_of(reading.items(body, "system"), "system", native_only)


def _text_of(blocks: list[JSON], at: str, native_only: reading.NativeOnly) -> str:
    """Return the blocks' text. What is no text stays in it as JSON, so that its size is known."""
    texts = []
    for number, block in enumerate(blocks):
        if block.get("type", "text") == "text":
            texts.append(reading.text(block, "text", required=True, longest=10_000_000, at=f"{at}[{number}]."))
        else:
            native_only(_unsupported(block, f"{at}[{number}]."))
            texts.append(dumps(block).decode())
    return "\n\n".join(texts)


def _unsupported(block: JSON, at: str) -> InvalidRequest:
    return invalid(at + "type", f"{str(block.get('type'))[:40]} is not supported by this model", "unsupported_value")


def _messages(items: list[JSON], native_only: reading.NativeOnly) -> tuple[list[str], tuple[Message, ...]]:
    """Return the texts of system messages and the other messages."""
    system: list[str] = []
    messages: list[Message] = []
    names: dict[str, str] = {}
    for number, item in enumerate(items):
        at = f"messages[{number}]."
        role = item.get("role")
        if role == "system":  # other vendors get it in front
            content = item.get("content")
            blocks = [{"text": content}] if isinstance(content, str) else reading.items(item, "content", at=at)
            system.append(_text_of(blocks, at + "content", native_only))
            continue
        if role not in ("user", "assistant"):
            raise invalid(at + "role", "must be user, assistant or system")
        parts = _blocks(item, at, names, native_only)
        outputs = tuple(part for part in parts if isinstance(part, ToolOutput))
        if outputs:
            messages.append(Message("tool", outputs))
        rest = tuple(part for part in parts if not isinstance(part, ToolOutput))
        if rest:
            messages.append(Message(role, rest))
    if not messages:
        raise invalid("messages", "must hold at least one message that is not a system message")
    return system, tuple(messages)


def _blocks(item: JSON, at: str, names: dict[str, str], native_only: reading.NativeOnly) -> tuple[Part, ...]:
    if isinstance(item.get("content"), str):
        return (Text(item["content"]),)
    parts: list[Part] = []
    for number, block in enumerate(reading.items(item, "content", required=True, at=at)):
        where = f"{at}content[{number}]."
        match block.get("type"):
            case "text":
                parts.append(Text(reading.text(block, "text", longest=10_000_000, at=where)))
            case "image":
                parts.append(_image(block, where))
            case "document":
                parts.append(_document(reading.mapping(block.get("source"), where + "source"), block, where, native_only))
            case "thinking":
                signature = reading.text(block, "signature", longest=10_000_000, at=where)
                signer = "openai" if signature.startswith(SIGNED) else "anthropic" if signature else ""
                parts.append(Reasoning(reading.text(block, "thinking", at=where), signature, signer))
            case "redacted_thinking":
                data = reading.text(block, "data", required=True, longest=10_000_000, at=where)
                parts.append(Reasoning("", REDACTED + data, "anthropic"))
            case "tool_use":
                name = reading.text(block, "name", required=True, longest=200, at=where)
                call_id, signature = reading.call_id(block, "id", at=where)
                names[call_id] = name
                arguments = dumps(reading.mapping(block.get("input") or {}, where + "input")).decode()
                parts.append(ToolUse(call_id, name, arguments, signature))
            case "tool_result":
                call_id, _ = reading.call_id(block, "tool_use_id", at=where)
                result = _result(block, where, native_only)
                is_error = bool(reading.flag(block, "is_error"))
                parts.append(ToolOutput.of(call_id, names.get(call_id, call_id), result, is_error=is_error))
            case str():
                native_only(_unsupported(block, where))
                parts.append(Text(dumps(block).decode()))
            case kind:
                raise invalid(where + "type", f"{str(kind)[:40]} is not supported", "unsupported_value")
    return tuple(parts)


def _result(block: JSON, at: str, native_only: reading.NativeOnly) -> tuple[Part, ...]:
    """Return the content of a tool's result: texts, images and documents."""
    if isinstance(block.get("content"), str):
        return (Text(block["content"]),)
    parts: list[Part] = []
    for number, item in enumerate(reading.items(block, "content", at=at)):
        where = f"{at}content[{number}]."
        match item.get("type", "text"):
            case "text":
                parts.append(Text(reading.text(item, "text", at=where)))
            case "image":
                parts.append(_image(item, where))
            case "document":
                parts.append(_document(reading.mapping(item.get("source"), where + "source"), item, where, native_only))
            case _:
                native_only(_unsupported(item, where))
                parts.append(Text(dumps(item).decode()))
    return tuple(parts)


def _image(block: JSON, at: str) -> Image:
    source = reading.mapping(block.get("source"), at + "source")
    at += "source."
    if source.get("type") == "url":
        return reading.image_from_url(reading.text(source, "url", required=True, at=at), at + "url")
    media_type = reading.text(source, "media_type", required=True, longest=100, at=at)
    # Also in the body that passes through: the vendor refuses image/jpg.
    block["source"]["media_type"] = image_type(media_type)
    return reading.base64_image(media_type, reading.text(source, "data", required=True, longest=20_000_000, at=at), at + "data")


def _document(source: JSON, block: JSON, at: str, native_only: reading.NativeOnly) -> Part:
    title = reading.text(block, "title", longest=500, at=at)
    match source.get("type"):
        case "text":
            return Text(reading.text(source, "data", required=True, longest=10_000_000, at=at + "source."))
        case "base64":
            media_type = reading.text(source, "media_type", required=True, longest=100, at=at + "source.")
            data = reading.text(source, "data", required=True, longest=20_000_000, at=at + "source.")
            return File(media_type, data, title or "document")
        case "url":
            # The same rule as for images; the vendor fetches it.
            reading.image_from_url(reading.text(source, "url", required=True, at=at + "source."), at + "source.url")
        case "content":
            reading.items(source, "content", at=at + "source.")
        case _:
            raise invalid(at + "source.type", "must be base64, text, content or url", "unsupported_value")
    native_only(invalid(at + "source.type", "this model takes only base64 and text", "unsupported_value"))
    return Text(dumps(source).decode())


def _tool(item: JSON, number: int, native_only: reading.NativeOnly) -> ToolSpec | None:
    at = f"tools[{number}]."
    kind = item.get("type")
    if kind not in (None, "custom"):
        if not isinstance(kind, str) or kind.startswith("mcp"):
            raise invalid(at + "type", f"{str(kind)[:40]} is not supported here", "unsupported_value")
        if kind.startswith(_PRICED_TOOLS):
            return None  # a model that cannot have it is not offered it
        native_only(invalid(at + "type", "this model takes only custom tools", "unsupported_value"))
        return None
    schema = reading.mapping(item.get("input_schema"), at + "input_schema")
    return ToolSpec(
        name=reading.text(item, "name", required=True, longest=128, at=at),
        description=reading.text(item, "description", longest=20_000, at=at),
        parameters=schema,
        # For the other vendors: OpenAI refuses strict schemas that Anthropic takes.
        strict=bool(reading.flag(item, "strict")) and is_strict(schema),
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


def _effort(effort: str | None, thinking: str | None) -> str | None:
    """Return the effort to think with: none where thinking is off, whatever effort the answer shall have."""
    return "none" if thinking == "none" else effort or thinking


def _thinking(value: Any) -> str | None:
    """Return a budget of thinking tokens as an effort, which the models of all vendors understand."""
    if value is None:
        return None
    thinking = reading.mapping(value, "thinking")
    match thinking.get("type"):
        case "disabled" | "between_tools":
            return "none"
        case "adaptive":
            return "medium"
        case "enabled":
            budget = reading.integer(thinking, "budget_tokens", 1024, 10_000_000)
            if budget is None:
                raise invalid("thinking.budget_tokens", "Field required", "missing")
            return "low" if budget < 4096 else "medium" if budget < 16384 else "high"
    raise invalid("thinking.type", "must be enabled, adaptive, between_tools or disabled")


def _format(value: Any) -> JSON | None:
    if value is None:
        return None
    wanted = reading.mapping(value, "output_config.format")
    if wanted.get("type") != "json_schema":
        raise invalid("output_config.format.type", "must be json_schema")
    schema = reading.mapping(wanted.get("schema"), "output_config.format.schema")
    return {"type": "json_schema", "name": "output", "schema": schema, "strict": is_strict(schema)}
