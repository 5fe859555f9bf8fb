"""OpenAI's chat completion body → our request. Source: platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.compatible import cache_marks, reading
from agents.compatible.reading import JSON, invalid
from agents.messages import CompletionRequest, File, Message, NativeBody, Part, PricedUse, Text, ToolOutput, ToolSpec, ToolUse
from aiagents.core.errors import InvalidRequest

EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
MOST_CHOICES = 8
# The ids that calls of the older form get, which has none: one call a message, answered by the function's name.
_LEGACY = "call_function_"
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
# Passed on unchanged to vendors that know them.
_PASSED = (
    "presence_penalty", "frequency_penalty", "logit_bias", "user", "verbosity", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "service_tier",
)  # fmt: skip
# Translated without effect: they control the vendor's own storage.
_IGNORED = {"store", "metadata"}
_KNOWN = {
    "model", "messages", "stream", "stream_options", "temperature", "top_p", "n", "stop", "max_tokens", "max_completion_tokens",
    "tools", "tool_choice", "parallel_tool_calls", "response_format", "seed", "reasoning_effort",
    "fallbacks", "max_cost_usd", *_PASSED, *_IGNORED,
}  # fmt: skip
# Passed on to models that get the body as it came, and refused for others.
_ONLY_PASSED = {"logprobs", "top_logprobs", "prediction", "functions", "function_call"}
# They have no price here: audio, searches by the vendor or a compatible server, and other models than the named one.
_UNSUPPORTED = {"audio", "web_search_options", "search_parameters", "enable_search", "plugins", "models"}
# The main fields, for the OpenAPI document. Models that get the body as it came get every other field, too.
FIELDS = frozenset(_KNOWN | _ONLY_PASSED | _UNSUPPORTED | {"modalities"})


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """The parsed body: the model call and the form of its answer."""

    request: CompletionRequest
    model: str
    n: int
    stream: bool
    include_usage: bool
    fallbacks: tuple[str, ...]
    max_cost_usd: Decimal | None


def read(body: JSON) -> ChatCompletion:
    """Parse the body. Raises InvalidRequest (400) with the name of the invalid field."""
    for name in _UNSUPPORTED & body.keys():
        if body[name] not in (None, False):
            raise reading.unsupported_parameter(name)
    if body.get("modalities") not in (None, ["text"]):
        raise InvalidRequest("Only the modality text is supported.", param="modalities", code="unsupported_parameter")
    native_only = reading.NativeOnly()
    native_only.fields(body, FIELDS)
    for name in sorted(_ONLY_PASSED & body.keys()):
        if body[name] not in (None, False):
            native_only(reading.unsupported_parameter(name))
    items = reading.items(body, "messages", required=True)
    system, messages = _messages(items, native_only)
    marks = cache_marks.read(body)
    choices = reading.integer(body, "n", 1, MOST_CHOICES) or 1
    request = CompletionRequest(
        messages=messages,
        system=system,
        tools=tuple(spec for number, item in enumerate(reading.items(body, "tools")) if (spec := _tool(item, number, native_only))),
        tool_choice=_tool_choice(body.get("tool_choice"), native_only),
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls", None),
        temperature=reading.number(body, "temperature", 0, 2),
        top_p=reading.number(body, "top_p", 0, 1),
        stop=reading.strings(body, "stop", 4),
        seed=reading.integer(body, "seed", -(2**63), 2**63 - 1),
        max_output_tokens=_max_tokens(body),
        response_format=_response_format(body.get("response_format")),
        reasoning_effort=reading.choice(body, "reasoning_effort", EFFORTS),
        extra=_passed(body),
        native=_native(body, messages, native_only, choices),
        cached=marks.parts,
        priced=PricedUse(
            marks.long,
            provider="openai",
            mode=reading.service_mode(body),
            unknown=reading.unknown(name for name in body if name not in FIELDS),
        ),
    )
    options = reading.mapping(body.get("stream_options") or {}, "stream_options")
    return ChatCompletion(
        request=request,
        model=reading.model(body),
        n=choices,
        stream=bool(reading.flag(body, "stream")),
        include_usage=bool(reading.flag(options, "include_usage")),
        fallbacks=reading.strings(body, "fallbacks", 10),
        max_cost_usd=reading.dollars(body, "max_cost_usd"),
    )


def _native(body: JSON, messages: Sequence[Message], native_only: reading.NativeOnly, choices: int) -> NativeBody | None:
    """Return the body for models that get it as it came; None where those would refuse it, and a translation helps.

    Raises what only they can take, for several choices: each of those is a call of its own.
    """
    if choices > 1:
        if native_only.error is not None:
            raise native_only.error
        return None
    if native_only.error is None and any(map(_needs_translation, messages)):
        return None
    return NativeBody("openai", body, untranslatable=native_only.error)


def _needs_translation(message: Message) -> bool:
    """Return whether a message holds what chat completions have no place for: media in results, text files, signed calls."""
    for part in message.parts:
        match part:
            case ToolOutput() if part.media:
                return True
            case File() if part.media_type != "application/pdf":
                return True
            case ToolUse() if part.signature:
                return True
    return False


def _max_tokens(body: JSON) -> int | None:
    limit = reading.integer(body, "max_completion_tokens", 1, 10_000_000)
    return limit if limit is not None else reading.integer(body, "max_tokens", 1, 10_000_000)


def _passed(body: JSON) -> JSON:
    found: JSON = {}
    reading.add_passed(found, body)
    reading.add_verbosity(found, body)
    for name in ("presence_penalty", "frequency_penalty"):
        if (value := reading.number(body, name, -2, 2)) is not None:
            found[name] = value
    if body.get("logit_bias") is not None:
        bias = reading.mapping(body["logit_bias"], "logit_bias")
        if len(bias) > 300 or not all(isinstance(value, int | float) and -100 <= value <= 100 for value in bias.values()):
            raise invalid("logit_bias", "must map at most 300 tokens to numbers from -100 to 100")
        found["logit_bias"] = bias
    return found


def _messages(items: list[JSON], native_only: reading.NativeOnly) -> tuple[str, tuple[Message, ...]]:
    system: list[str] = []
    messages: list[Message] = []
    names: dict[str, str] = {}
    for number, item in enumerate(items):
        at = f"messages[{number}]."
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise invalid(at + "role", f"must be one of {', '.join(sorted(_ROLES - {'function'}))}")
        if role in ("system", "developer"):
            system.append("".join(part.text for part in _parts(item, at) if isinstance(part, Text)))
        elif role == "user":
            messages.append(Message("user", _parts(item, at)))
        elif role == "assistant":
            messages.append(Message("assistant", _assistant(item, at, names, native_only)))
        else:
            if role == "tool":
                call_id, _ = reading.call_id(item, "tool_call_id", at=at)
            else:
                call_id = _legacy_call(reading.text(item, "name", required=True, longest=200, at=at), names, at)
            part = ToolOutput.of(call_id, names.get(call_id, call_id), _parts(item, at))
            if messages and messages[-1].role == "tool":  # OpenAI sends the outputs of parallel calls as separate messages
                messages[-1] = Message("tool", (*messages[-1].parts, part))
            else:
                messages.append(Message("tool", (part,)))
    if not messages:
        raise invalid("messages", "must hold at least one message that is not a system message")
    return "\n\n".join(filter(None, system)), tuple(messages)


def _legacy_call(function: str, names: dict[str, str], at: str) -> str:
    """Return the id of the newest call of a function that was written without an id (`function_call`)."""
    for call_id, name in reversed(names.items()):
        if name == function and call_id.startswith(_LEGACY):
            return call_id
    raise invalid(at + "name", f"no function_call of {function[:64]} comes before this result")


def _parts(item: JSON, at: str) -> tuple[Part, ...]:
    content = item.get("content")
    if isinstance(content, str):
        return (Text(content),)
    parts: list[Part] = []
    for number, part in enumerate(reading.items(item, "content", required=True, at=at)):
        where = f"{at}content[{number}]."
        match part.get("type"):
            case "text" | "refusal":
                parts.append(Text(reading.text(part, str(part["type"]), longest=10_000_000, at=where)))
            case "image_url":
                link = reading.mapping(part.get("image_url"), where + "image_url")
                url = reading.text(link, "url", required=True, longest=20_000_000, at=where)
                parts.append(reading.image_from_url(url, where + "image_url", reading.image_detail(link, where + "image_url.")))
            case "file":
                parts.append(_file(reading.mapping(part.get("file"), where + "file"), where))
            case kind:
                raise invalid(where + "type", f"{str(kind)[:40]} is not supported; use text, image_url or file", "unsupported_value")
    return tuple(parts)


def _file(item: JSON, at: str) -> File:
    reading.refuse_file_reference(item, at)
    data = reading.text(item, "file_data", required=True, longest=20_000_000, at=at)
    head, comma, encoded = data.partition(",")
    media_type = head.removeprefix("data:").partition(";")[0] if comma else "application/pdf"
    return File(media_type, encoded if comma else data, reading.text(item, "filename", longest=200, at=at) or "file")


def _assistant(item: JSON, at: str, names: dict[str, str], native_only: reading.NativeOnly) -> tuple[Part, ...]:
    if item.get("audio") is not None:  # the id of an answer in the company's account
        raise reading.unsupported_parameter(at + "audio")
    parts: list[Part] = list(_parts(item, at)) if item.get("content") else []
    if refusal := reading.text(item, "refusal", longest=10_000_000, at=at):
        parts.append(Text(refusal))  # clients send their last answer back as it came
    for number, call in enumerate(reading.items(item, "tool_calls", at=at)):
        where = f"{at}tool_calls[{number}]."
        kind = "custom" if call.get("type") == "custom" else "function"
        if kind == "custom":
            native_only(invalid(where + "type", "only function tools are supported", "unsupported_value"))
        function = reading.mapping(call.get(kind), where + kind)
        name = reading.text(function, "name", required=True, longest=200, at=where)
        call_id, signature = reading.call_id(call, "id", at=where)
        names[call_id] = name
        signature = _google_signature(call, where) or signature
        arguments = reading.text(function, "input" if kind == "custom" else "arguments", at=where)
        parts.append(ToolUse(call_id, name, arguments or "{}", signature))
    if item.get("function_call") is not None:
        function = reading.mapping(item["function_call"], at + "function_call")
        name = reading.text(function, "name", required=True, longest=200, at=at + "function_call.")
        call_id = f"{_LEGACY}{len(names) + 1}"
        names[call_id] = name
        parts.append(ToolUse(call_id, name, reading.text(function, "arguments", at=at + "function_call.") or "{}"))
    return tuple(parts) or (Text(""),)


def _google_signature(call: JSON, at: str) -> str:
    """Return Gemini's signature of a call from the field that Google's own OpenAI API has for it."""
    extra = reading.mapping(call.get("extra_content") or {}, at + "extra_content")
    google = reading.mapping(extra.get("google") or {}, at + "extra_content.google")
    return reading.text(google, "thought_signature", at=at + "extra_content.google.")


def _tool(item: JSON, number: int, native_only: reading.NativeOnly) -> ToolSpec | None:
    at = f"tools[{number}]."
    if item.get("type") != "function":
        error = invalid(at + "type", "only function tools are supported", "unsupported_value")
        if item.get("type") != "custom":
            raise error
        native_only(error)
        return None
    function = reading.mapping(item.get("function"), at + "function")
    schema = function.get("parameters")
    return ToolSpec(
        name=reading.text(function, "name", required=True, longest=64, at=at + "function."),
        description=reading.text(function, "description", longest=20_000, at=at + "function."),
        parameters=reading.mapping(schema, at + "function.parameters") if schema is not None else {"type": "object", "properties": {}},
        strict=bool(reading.flag(function, "strict")),
    )


def _tool_choice(value: Any, native_only: reading.NativeOnly) -> str:
    if value in (None, "auto", "none", "required"):
        return value or "auto"
    if isinstance(value, dict) and isinstance(value.get("function"), dict) and isinstance(value["function"].get("name"), str):
        return str(value["function"]["name"])
    error = invalid("tool_choice", 'must be "auto", "none", "required" or name a function')
    if not isinstance(value, dict) or value.get("type") not in ("custom", "allowed_tools"):
        raise error
    native_only(error)
    return "auto"


def _response_format(value: Any) -> JSON | None:
    if value is None:
        return None
    kind = reading.mapping(value, "response_format").get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind == "json_schema":
        schema = reading.mapping(value.get("json_schema"), "response_format.json_schema")
        return {
            "type": "json_schema",
            "name": reading.text(schema, "name", required=True, longest=64, at="response_format.json_schema."),
            "schema": reading.mapping(schema.get("schema") or {}, "response_format.json_schema.schema"),
            "strict": bool(reading.flag(schema, "strict")),
        }
    raise invalid("response_format.type", "must be text, json_object or json_schema")
