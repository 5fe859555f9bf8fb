"""Requests to OpenAI's Responses endpoint. Source: platform.openai.com/docs/api-reference/responses.

The vendor refuses function tools of GPT-5.4 with an effort, and of later generations always, at chat completions. Nothing
is stored there (`store: false`), so a reasoning model's thinking goes back encrypted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agents.messages import CompletionRequest, File, Image, Message, Part, Reasoning, Text, ToolOutput, ToolUse
from agents.providers.base import Target
from agents.providers.openai import efforts
from agents.providers.openai.responses_answer import reasoning_item
from agents.providers.parts import CallIds, decoded_text
from aiagents.core import jsonio

ENDPOINT = "responses"
PATH = "/responses"
# Fields of chat completions that this endpoint has under the same name.
_SAME = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier")
# The vendor's rule for the ids of tool calls.
CALL_ID = r"(?s).{1,64}"
_ENCRYPTED = "reasoning.encrypted_content"
# The least that the endpoint takes.
_LEAST_OUTPUT = 16


def body(request: CompletionRequest, target: Target, *, stream: bool) -> Mapping[str, Any]:
    """Return the request's JSON body. Stop sequences, seeds and penalties have no field here."""
    ids = CallIds(CALL_ID)
    out: dict[str, Any] = {
        "model": target.model,
        "input": [item for message in request.messages for item in _items(message, ids)],
        "store": False,
        **_limit(request, target),
    }
    if stream:
        out["stream"] = True
    wanted = request.response_format
    if request.system and wanted and wanted.get("type") == "json_object":
        # For this format the vendor wants the word "json" in the input, and does not look for it in `instructions`.
        out["input"].insert(0, {"type": "message", "role": "developer", "content": request.system})
    elif request.system:
        out["instructions"] = request.system
    if request.tools:
        out["tools"] = [
            {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
            for tool in request.tools
        ]
        if request.tool_choice != "auto":
            named = request.tool_choice not in ("none", "required")
            out["tool_choice"] = {"type": "function", "name": request.tool_choice} if named else request.tool_choice
        if request.parallel_tool_calls is not None:
            out["parallel_tool_calls"] = request.parallel_tool_calls
    text = {"verbosity": request.extra["verbosity"]} if "verbosity" in request.extra else {}
    if wanted and wanted.get("type") == "json_schema":
        shape = {"name": wanted.get("name") or "answer", "schema": wanted.get("schema") or {}, "strict": bool(wanted.get("strict"))}
        text["format"] = {"type": "json_schema", **shape}
    elif wanted:
        text["format"] = {"type": str(wanted.get("type"))}
    if text:
        out["text"] = text
    if target.reasoning:
        out["include"] = [_ENCRYPTED]
        if request.reasoning_effort:
            out["reasoning"] = {"effort": efforts.fitted(request.reasoning_effort, target.model)}
    if target.temperature:
        sampling = {"temperature": request.temperature, "top_p": request.top_p}
        out |= {name: value for name, value in sampling.items() if value is not None}
    if request.cache_key:
        out["prompt_cache_key"] = request.cache_key
    out |= {name: request.extra[name] for name in _SAME if name in request.extra}
    return out


def native_content(sent: Mapping[str, Any], request: CompletionRequest, target: Target, *, stream: bool) -> bytes:
    """Return the client's own body for this call: nothing is stored, and thinking comes back encrypted."""
    out = {**sent, "model": target.model, "store": False, "stream": stream, **_limit(request, target)}
    include = sent.get("include") or []
    if target.reasoning and isinstance(include, list) and _ENCRYPTED not in include:
        out["include"] = [*include, _ENCRYPTED]
    return jsonio.dumps(out)


def _limit(request: CompletionRequest, target: Target) -> Mapping[str, int]:
    """Return the field of the output limit, if there is one."""
    if request.max_output_tokens is None:
        return {}
    return {"max_output_tokens": max(_LEAST_OUTPUT, request.output_limit(target.max_output_tokens))}


def _items(message: Message, ids: CallIds) -> Iterator[Mapping[str, Any]]:
    """Yield the input items of a message, in the order of its parts: thinking stands before the call that it led to."""
    words: list[Mapping[str, Any]] = []
    for part in message.parts:
        match part:
            case ToolUse():
                item: dict[str, Any] = {
                    "type": "function_call",
                    "call_id": ids.of_call(part),
                    "name": part.name,
                    "arguments": part.arguments or "{}",
                }
            case ToolOutput():
                item = {"type": "function_call_output", "call_id": ids.of_result(part), "output": _output(part)}
            case Reasoning(provider="openai") if (signed := reasoning_item(part.signature)) is not None:
                item = {"type": "reasoning", "summary": [], **signed}
            case _:
                words += [found] if (found := _content(part)) else []
                continue
        yield from _message(message.role, words)
        words = []
        yield item
    yield from _message(message.role, words)


def _output(part: ToolOutput) -> str | list[Mapping[str, Any]]:
    """Return a tool's result: its text, or its content if it holds images or files."""
    if not part.parts:
        return f"Error: {part.output}" if part.is_error else part.output
    content = (Text("Error:"), *part.parts) if part.is_error else part.parts
    return [found for one in content if (found := _content(one))]


def _message(role: str, words: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    if not words:
        return
    if role == "assistant":  # a list of the model's own words would need the ids that OpenAI gave them
        yield {"type": "message", "role": role, "content": "".join(word["text"] for word in words)}
    else:
        yield {"type": "message", "role": "user", "content": words}


def _content(part: Part) -> Mapping[str, Any] | None:
    match part:
        case Text():
            return {"type": "input_text", "text": part.text} if part.text else None
        case Image():
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case File(media_type="application/pdf"):
            return {"type": "input_file", "filename": part.name, "file_data": f"data:application/pdf;base64,{part.data}"}
        case File():
            return {"type": "input_text", "text": f"File {part.name}:\n{decoded_text(part)}"}
    return None
