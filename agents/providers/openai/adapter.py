"""Adapter of OpenAI's chat completions, and of the many servers with the same API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import openai
from yarl import URL

from agents.messages import CompletionRequest, EmbeddingRequest, File, Image, Message, Part, Text, ToolOutput, ToolUse
from agents.providers.answer import Answer
from agents.providers.base import Target
from agents.providers.embedding import EmbeddingProvider
from agents.providers.errors import ProviderError, error_from_status, retry_after, should_retry
from agents.providers.native import NativeReader
from agents.providers.openai import efforts, native_chat, responses
from agents.providers.openai.answer import ChatAnswer, read_embeddings
from agents.providers.openai.responses_answer import ResponseAnswer
from agents.providers.parts import CallIds, decoded_text, limited_stops
from agents.providers.relay import Address
from billing.pricing import Usage

# OpenAI takes ids of up to 40 characters in chat completions (64 in Responses). Mistral takes nine letters and digits.
_CALL_ID, _MISTRAL_CALL_ID = r"(?s).{1,40}", "[a-zA-Z0-9]{9}"
_MOST_STOPS = 4
_SAMPLING = ("presence_penalty", "frequency_penalty", "logit_bias")


_IN_NEXT_MESSAGE = "(See the next message.)"


class OpenAI(EmbeddingProvider):
    kind = "openai"
    max_tokens_field = "max_completion_tokens"
    # Fields of a caller that are sent unchanged, beside those of CompletionRequest.
    passed: tuple[str, ...] = (
        *_SAMPLING, "user", "verbosity", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier",
    )  # fmt: skip
    # A quarter of the bytes of written numbers, and nothing to parse.
    encoding_format = "base64"

    def key_parts(self, target: Target) -> tuple[str, str]:
        return "", target.endpoint

    def client(self, target: Target, http: httpx2.AsyncClient) -> openai.AsyncOpenAI:
        # Key and address are always given: else the SDK would read the environment. A server without keys accepts any.
        made = openai.AsyncOpenAI(api_key=target.api_key or "none", base_url=target.base_url, max_retries=0, http_client=http)
        made.organization = made.project = None
        return made

    async def send_sample(self, client: openai.AsyncOpenAI, target: Target, *, stream: bool) -> None:
        path = responses.PATH if target.endpoint == responses.ENDPOINT else "/chat/completions"
        await client.post(path, content=b"{}", cast_to=httpx2.Response, stream=stream)

    async def sdk_error(self, client: openai.AsyncOpenAI, response: httpx2.Response) -> Exception:
        return client._make_status_error_from_response(response)

    def embedding_url(self, address: Address) -> URL:
        return address.url.parent.parent / "embeddings"

    def embedding_payload(self, request: EmbeddingRequest, target: Target) -> dict[str, Any]:
        body: dict[str, Any] = {"model": target.model, "input": request.inputs, "encoding_format": self.encoding_format}
        if request.dimensions:
            body["dimensions"] = request.dimensions
        if request.user:
            body["user"] = request.user
        return body

    def read_embeddings(self, body: bytes) -> tuple[list[bytes], Usage | None]:
        return read_embeddings(body)

    def native_content(self, request: CompletionRequest, target: Target, *, stream: bool) -> bytes | None:
        """Return the client's own body if it is of the endpoint that answers; other models get a translated one."""
        native = request.native
        if native is None or (native.provider, native.endpoint) != ("openai", target.endpoint) or not self._takes_native(target):
            return None
        if target.endpoint == responses.ENDPOINT:
            return responses.native_content(native.body, request, target, stream=stream)
        return native_chat.content(native.body, request, target, stream=stream, limit_field=self.max_tokens_field)

    def native_reader(self, answer: Answer, request: CompletionRequest, target: Target) -> NativeReader:
        if target.endpoint == responses.ENDPOINT:
            return super().native_reader(answer, request, target)
        assert request.native is not None
        options = request.native.body.get("stream_options") or {}
        return native_chat.NativeChunks(answer, target, hide_usage=not options.get("include_usage"))

    def _takes_native(self, target: Target) -> bool:
        return True

    def answer(self, target: Target) -> Answer:
        if target.endpoint == responses.ENDPOINT:
            return ResponseAnswer()
        return ChatAnswer(target.requires_finish_reason, of_openai=self.kind == "openai")

    def translate(self, exc: Exception, target: Target) -> ProviderError | None:
        if isinstance(exc, openai.APIStatusError):
            headers = exc.response.headers
            return error_from_status(
                exc.status_code, vendor=target.provider, vendor_type=str(exc.type or ""), vendor_code=str(exc.code or ""),
                message=str(exc.body.get("message") or "") if isinstance(exc.body, dict) else "",
                retry_after=retry_after(headers), should_retry=should_retry(headers),
                secrets=(target.api_key,), param=str(exc.param or ""),
            )  # fmt: skip
        return None

    def payload(self, request: CompletionRequest, target: Target, *, stream: bool) -> Mapping[str, Any]:
        """Return the request's JSON body, without the fields that the model would refuse."""
        if target.endpoint == responses.ENDPOINT:
            return responses.body(request, target, stream=stream)
        body: dict[str, Any] = {"model": target.model, "messages": _messages(request, target)}
        if request.max_output_tokens is not None:
            body[self.max_tokens_field] = request.output_limit(target.max_output_tokens)
        if stream:
            body["stream"] = True
            if target.sends_usage:
                body["stream_options"] = {"include_usage": True}
        if request.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
            if request.tool_choice != "auto":
                body["tool_choice"] = _tool_choice(request.tool_choice)
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
        if request.response_format:
            body["response_format"] = _response_format(request.response_format)
        if request.reasoning_effort and target.reasoning:
            body["reasoning_effort"] = efforts.fitted(request.reasoning_effort, target.model)
        if request.cache_key and "prompt_cache_key" in self.passed:
            body["prompt_cache_key"] = request.cache_key
        for name in self.passed:
            if name in request.extra and (target.temperature or name not in _SAMPLING):
                body[name] = request.extra[name]
        if target.temperature:
            sampling = {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed}
            body |= {name: value for name, value in sampling.items() if value is not None}
            if request.stop:
                body["stop"] = limited_stops(request.stop, _MOST_STOPS)
        return body


class OpenAICompatible(OpenAI):
    """Servers that copy OpenAI's API. Most know only the older name of the output limit, and vectors as numbers."""

    kind = "openai_compatible"
    max_tokens_field = "max_tokens"
    # Many refuse a field that they do not know.
    passed = (*_SAMPLING, "user")

    def _takes_native(self, target: Target) -> bool:
        return target.passes_through and not target.endpoint

    encoding_format = "float"
    most_inputs = 64


def _messages(request: CompletionRequest, target: Target) -> list[dict[str, Any]]:
    host = URL(target.base_url).host or ""
    ids = CallIds(_MISTRAL_CALL_ID, "%.9s") if host.endswith("mistral.ai") else CallIds(_CALL_ID)
    signed = host.endswith("googleapis.com")
    out: list[dict[str, Any]] = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        if message.role == "assistant":
            out.append(_assistant(message, ids, signed))
        else:
            results = [(part, _tool_output(part, ids)) for part in message.parts if isinstance(part, ToolOutput)]
            out += [result for _, result in results]
            attached = [one for part, result in results for one in _attached(part, result["tool_call_id"])]
            content = [found for part in (*attached, *message.parts) if (found := _content(part))]
            if len(content) == 1 and content[0]["type"] == "text":
                out.append({"role": "user", "content": content[0]["text"]})
            elif content:
                out.append({"role": "user", "content": content})
    return out


def _assistant(message: Message, ids: CallIds, signed: bool) -> dict[str, Any]:
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, ToolUse):
            function = {"name": part.name, "arguments": part.arguments}
            calls.append({"id": ids.of_call(part), "type": "function", "function": function})
            if signed and part.signature:
                calls[-1]["extra_content"] = {"google": {"thought_signature": part.signature}}
    # Reasoning is not sent back: this API has no field for it.
    return {"role": "assistant", "content": message.text or (None if calls else "")} | ({"tool_calls": calls} if calls else {})


def _tool_output(part: ToolOutput, ids: CallIds) -> dict[str, Any]:
    text = part.output or (_IN_NEXT_MESSAGE if part.media else "")
    return {"role": "tool", "tool_call_id": ids.of_result(part), "content": f"Error: {text}" if part.is_error else text}


def _attached(part: ToolOutput, call_id: str) -> tuple[Part, ...]:
    """Return the images and files of a tool's result, for a user message behind it: a tool message holds text only."""
    return (Text(f"Content of the result of {part.name} ({call_id}):"), *part.media) if part.media else ()


def _content(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text} if part.text else None
        case Image():
            image = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
            return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
        case File(media_type="application/pdf"):
            return {"type": "file", "file": {"filename": part.name, "file_data": f"data:application/pdf;base64,{part.data}"}}
        case File():
            return {"type": "text", "text": f"File {part.name}:\n{decoded_text(part)}"}
    return None


def _tool(tool: Any) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function | ({"strict": True} if tool.strict else {})}


def _tool_choice(choice: str) -> Any:
    return choice if choice in ("none", "required") else {"type": "function", "function": {"name": choice}}


def _response_format(wanted: dict[str, Any]) -> dict[str, Any]:
    if wanted.get("type") != "json_schema":
        return {"type": str(wanted.get("type"))}
    schema = {"name": wanted.get("name") or "answer", "schema": wanted.get("schema") or {}}
    return {"type": "json_schema", "json_schema": schema | ({"strict": True} if wanted.get("strict") else {})}
