"""Adapter of Anthropic's Messages API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import anthropic
import httpx2
from yarl import URL

from agents.messages import REDACTED, Cached, CompletionRequest, File, Image, Part, Reasoning, Text, ToolOutput, ToolSpec, ToolUse
from agents.providers.answer import Answer
from agents.providers.anthropic import schemas, thinking
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.base import Target
from agents.providers.counting import CountingProvider
from agents.providers.errors import ProviderError, error_from_status, retry_after, should_retry
from agents.providers.parts import CALL_ID, CallIds, arguments_object, decoded_text
from agents.providers.relay import Address
from aiagents.core import jsonio

_ALL_CACHED: frozenset[Cached] = frozenset({"tools", "system", "conversation"})
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
# What the endpoint for counting takes; it refuses max_tokens and the like.
COUNTED = frozenset({
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "context_management", "compaction",
    "speed",
})  # fmt: skip
# The version of the API that took them away. Versions are dates.
_SAMPLING_GONE = "2026-10-21"
_JSON_ONLY = "Answer with one JSON object and nothing else: no prose, no code fence."


class Anthropic(CountingProvider):
    kind = "anthropic"
    count_field = "input_tokens"
    tool_name = re.compile(r"[a-zA-Z0-9_-]{1,128}")

    def client(self, target: Target, http: httpx2.AsyncClient) -> anthropic.AsyncAnthropic:
        base_url = target.base_url.rstrip("/").removesuffix("/v1")  # the SDK adds it
        return anthropic.AsyncAnthropic(api_key=target.api_key or "none", base_url=base_url, max_retries=0, http_client=http)

    async def send_sample(self, client: anthropic.AsyncAnthropic, target: Target, *, stream: bool) -> None:
        await client.post("/v1/messages", content=b"{}", cast_to=httpx2.Response, stream=stream)

    async def sdk_error(self, client: anthropic.AsyncAnthropic, response: httpx2.Response) -> Exception:
        return client._make_status_error_from_response(response)

    def payload(self, request: CompletionRequest, target: Target, *, stream: bool) -> Mapping[str, Any]:
        return body(request, target, stream=stream)

    def native_content(self, request: CompletionRequest, target: Target, *, stream: bool) -> bytes | None:
        """Return the client's own body. Sampling is left out where the API's version or the model refuses it."""
        native = request.native
        if native is None or native.provider != self.kind:
            return None
        limit = request.output_limit(target.max_output_tokens)
        version = dict(native.headers).get("anthropic-version", "")
        sampling = target.temperature and "" < version < _SAMPLING_GONE
        kept: Mapping[str, Any] = {name: value for name, value in native.body.items() if sampling or name not in _SAMPLING}
        if limit != kept.get("max_tokens"):
            kept = thinking.below(kept, limit)
        return jsonio.dumps({**kept, "model": target.model, "max_tokens": limit, "stream": stream})

    def count_url(self, address: Address) -> URL:
        return address.url / "count_tokens"

    def count_content(self, request: CompletionRequest, target: Target) -> bytes:
        native = request.native
        prompt = native.body if native is not None and native.provider == self.kind else body(request, target, stream=False)
        return jsonio.dumps({name: value for name, value in prompt.items() if name in COUNTED} | {"model": target.model})

    def answer(self, target: Target) -> Answer:
        return MessageAnswer()

    def translate(self, exc: Exception, target: Target) -> ProviderError | None:
        if isinstance(exc, anthropic.APIStatusError):
            headers = exc.response.headers
            return error_from_status(
                exc.status_code, vendor=target.provider, vendor_type=str(exc.type or ""), vendor_code=str(exc.error_code or ""),
                message=exc.api_message or "", retry_after=retry_after(headers), should_retry=should_retry(headers),
                secrets=(target.api_key,),
            )  # fmt: skip
        return None


def body(request: CompletionRequest, target: Target, *, stream: bool) -> dict[str, Any]:
    """Return the request's JSON body. This API version has no temperature, top_p and seed, so they are left out."""
    limit = request.output_limit(target.max_output_tokens)
    out: dict[str, Any] = {"model": target.model, "max_tokens": limit, "messages": _messages(request)}
    system, wanted = request.system, request.response_format or {}
    config: dict[str, Any] = {}
    if wanted.get("type") == "json_schema":
        config["format"] = {"type": "json_schema", "schema": schemas.fitted(wanted.get("schema") or {}, "response_format")}
    elif wanted.get("type") == "json_object":
        system = f"{system}\n\n{_JSON_ONLY}" if system else _JSON_ONLY
    if system:
        out["system"] = system
    if stream:
        out["stream"] = True
    if request.stop:
        out["stop_sequences"] = [mark for mark in request.stop if mark.strip()]
    forced = False
    if request.tools:
        out["tools"] = [_tool(tool) for tool in request.tools]
        choice = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}.get(request.tool_choice)
        choice = choice or {"type": "tool", "name": request.tool_choice}
        forced = choice["type"] in ("any", "tool")
        if request.parallel_tool_calls is False and choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True  # type: ignore[assignment]  # the one value that is no string
        if choice != {"type": "auto"}:
            out["tool_choice"] = choice
    if target.reasoning and (request.reasoning_effort or forced):
        thought, effort = thinking.fields(target.model, request.reasoning_effort, limit, forced=forced, unsigned=_ends_unsigned(request))
        if thought:
            out["thinking"] = thought
        if effort:
            config["effort"] = effort
        if forced and thinking.of(target.model).always:
            out["system"] = f"{system}\n\n{_must_call(request.tool_choice)}".lstrip()
            out.pop("tool_choice")
            if request.parallel_tool_calls is False:
                out["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    if config:
        out["output_config"] = config
    if cached := _ALL_CACHED if request.cache_key else request.cached:
        _mark(out, cached, {"type": "ephemeral", "ttl": "1h"} if request.priced.long_writes else {"type": "ephemeral"})
    return out


def _mark(body: dict[str, Any], cached: frozenset[Cached], mark: dict[str, str]) -> None:
    """Have the vendor cache the tools, the system prompt, and the conversation up to its last block (the mark at the top)."""
    if "conversation" in cached:
        body["cache_control"] = mark
    if body.get("system") and "system" in cached:
        body["system"] = [{"type": "text", "text": body["system"], "cache_control": mark}]
    if body.get("tools") and "tools" in cached:
        body["tools"][-1] = body["tools"][-1] | {"cache_control": mark}


def _ends_unsigned(request: CompletionRequest) -> bool:
    """Return whether the request ends with results of calls that have no signed thinking before them."""
    if not request.messages or request.messages[-1].role != "tool":
        return False
    last = next((message for message in reversed(request.messages) if message.role == "assistant"), None)
    return last is None or not any(isinstance(part, Reasoning) and part.provider == "anthropic" and part.signature for part in last.parts)


def _must_call(choice: str) -> str:
    """Return the instruction for models that always think: for them the API refuses a forced tool."""
    return "You must call a tool." if choice == "required" else f"You must call the tool {choice}."


class _Tool(TypedDict):
    name: str
    description: str
    input_schema: dict[str, Any]
    strict: NotRequired[bool]


def _tool(tool: ToolSpec) -> _Tool:
    found: _Tool = {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
    if tool.strict:
        found["input_schema"] = schemas.fitted(tool.parameters, f"tool {tool.name}")
        found["strict"] = True
    return found


def _messages(request: CompletionRequest) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    called = any(isinstance(part, ToolUse | ToolOutput) for message in request.messages for part in message.parts)
    ids = CallIds(CALL_ID, unique=True) if called else None
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts if (block := _block(part, ids))]
        if not blocks:
            continue  # the API refuses an empty message
        if out and out[-1]["role"] == role:
            out[-1]["content"] += blocks  # the API wants the results of parallel tools in one message
        else:
            out.append({"role": role, "content": blocks})
    return out


def _block(part: Part, ids: CallIds | None) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case Image(url=url) if url:
            return {"type": "image", "source": {"type": "url", "url": url}}
        case Image():
            return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
        case File(media_type="application/pdf"):
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            return {"type": "document", "title": part.name, "source": source}
        case File():
            source = {"type": "text", "media_type": "text/plain", "data": decoded_text(part)}
            return {"type": "document", "title": part.name, "source": source}
        case Reasoning(provider="anthropic") if part.signature.startswith(REDACTED):
            return {"type": "redacted_thinking", "data": part.signature.removeprefix(REDACTED)}
        case Reasoning(provider="anthropic") if part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case ToolUse() if ids is not None:
            return {"type": "tool_use", "id": ids.of_call(part), "name": part.name, "input": arguments_object(part.arguments)}
        case ToolOutput() if ids is not None:
            content = [block for one in part.parts if (block := _block(one, None))] or part.output
            result = {"type": "tool_result", "tool_use_id": ids.of_result(part), "content": content}
            return result | ({"is_error": True} if part.is_error else {})
    return None
