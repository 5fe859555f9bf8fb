"""Google's Gemini.

The SDK says where a model is and how a call is signed; body and answer are ours. Its own way costs three times the processor
time of a whole call, cannot be closed (python-genai #2425) and makes an object tree of every chunk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import httpx2
import orjson
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from agents.messages import CompletionRequest, File, Image, Part, Text, ToolOutput, ToolUse
from agents.providers import transport
from agents.providers.answer import Answer
from agents.providers.base import Target, output_limit
from agents.providers.errors import ProviderBadRequest, ProviderError, retry_after
from agents.providers.google_answer import OUR_ID, GeminiAnswer, refusal
from agents.providers.parts import arguments_object, decoded_text
from agents.providers.relay import HttpProvider

# Gemini 2.5 takes a number of tokens, later models a level.
_BUDGET = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
_LEVEL = {"minimal": "LOW", "low": "LOW", "medium": "MEDIUM"}


class Google(HttpProvider):
    kind = "google"

    async def prepare(self, target: Target, *, stream: bool) -> None:
        await address(target, stream=stream)

    async def post(self, request: CompletionRequest, target: Target, *, stream: bool) -> httpx2.Response:
        url, headers = await address(target, stream=stream)
        http = (await transport.pool()).http
        call = http.build_request("POST", url, content=orjson.dumps(body(request, target)), headers=headers)
        response = await http.send(call, stream=True)
        if response.status_code != 200:
            await genai_errors.APIError.raise_for_async_response(response)
        if not stream:
            await response.aread()
        return response

    def answer(self, target: Target) -> Answer:
        return GeminiAnswer()

    def translate(self, exc: Exception, target: Target) -> ProviderError | None:
        if not isinstance(exc, genai_errors.APIError):
            return None
        headers = exc.response.headers if isinstance(exc.response, httpx2.Response) else {}
        return refusal(exc.details, exc.code, target, retry_after(headers))


_clients: OrderedDict[tuple[str, str, str], Any] = OrderedDict()
_addresses: OrderedDict[tuple[str, str, str, bool], tuple[str, list[tuple[str, str]]]] = OrderedDict()


class _Addressed(Exception):
    """The SDK has built its request; it is not sent."""

    def __init__(self, request: httpx2.Request) -> None:
        self.request = request


class _Surveyor(httpx2.AsyncClient):
    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        raise _Addressed(request)


async def address(target: Target, *, stream: bool) -> tuple[str, list[tuple[str, str]]]:
    """URL and signed headers for a model, as the SDK builds them: asked once, since they are the same for every call."""
    key = (target.base_url, target.api_key, target.model, stream)
    if (known := _addresses.get(key)) is not None:
        return known
    base, _, version = target.base_url.rstrip("/").rpartition("/")
    if version not in ("v1", "v1beta", "v1alpha"):
        base, version = target.base_url, _version(target.model)
    models = await _sdk(base, version, target.api_key)
    config = types.GenerateContentConfig(automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    try:
        if stream:
            await anext(await models.generate_content_stream(model=target.model, contents=" ", config=config))
        else:
            await models.generate_content(model=target.model, contents=" ", config=config)
    except _Addressed as found:
        request = found.request
    headers = [(name, value) for name, value in request.headers.multi_items() if name not in ("host", "content-length", "accept-encoding")]
    _addresses[key] = (str(request.url), headers)
    if len(_addresses) > 1024:
        _addresses.popitem(last=False)
    return _addresses[key]


async def _sdk(base_url: str, version: str, api_key: str) -> Any:
    """The SDK's `models`, which never opens a connection. In a thread: its constructor reads certificates for 40 ms."""

    def build() -> Any:
        surveyor = _Surveyor(transport=httpx2.MockTransport(lambda _: httpx2.Response(500)), trust_env=False)
        options = types.HttpOptions(base_url=base_url, api_version=version, httpx_async_client=surveyor)
        return genai.Client(api_key=api_key or "none", vertexai=False, http_options=options).aio.models

    key = (base_url, version, api_key)
    if key not in _clients:
        _clients[key] = await asyncio.to_thread(build)
        if len(_clients) > 64:
            _clients.popitem(last=False)
    return _clients[key]


def _version(model: str) -> str:
    """Aliases and previews exist on v1beta only."""
    return "v1beta" if any(mark in model for mark in ("latest", "preview", "exp")) else "v1"


def body(request: CompletionRequest, target: Target) -> dict[str, Any]:
    """The request on the wire, declarations of tools only: nothing is executed by an SDK."""
    out: dict[str, Any] = {"contents": _contents(request)}
    if request.system:
        out["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        out["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
        if request.tool_choice != "auto":
            calling: dict[str, Any] = {"mode": {"none": "NONE"}.get(request.tool_choice, "ANY")}
            if request.tool_choice not in ("none", "required"):
                calling["allowedFunctionNames"] = [request.tool_choice]
            out["toolConfig"] = {"functionCallingConfig": calling}
    config: dict[str, Any] = {"maxOutputTokens": output_limit(request, target)}
    if target.temperature:
        sampling = {"temperature": request.temperature, "topP": request.top_p, "seed": request.seed}
        config |= {name: value for name, value in sampling.items() if value is not None}
    if request.stop:
        config["stopSequences"] = list(request.stop)[:5]
    if request.response_format:
        config["responseMimeType"] = "application/json"
        if request.response_format.get("type") == "json_schema":
            config["responseJsonSchema"] = request.response_format.get("schema") or {}
    if request.reasoning_effort and target.reasoning:
        config["thinkingConfig"] = _thinking(request.reasoning_effort, target.model)
    return out | {"generationConfig": config}


def _declaration(tool: Any) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}


def _thinking(effort: str, model: str) -> dict[str, Any]:
    if "2.5" in model:
        budget = _BUDGET.get(effort, 24576)
        return {"thinkingBudget": budget, "includeThoughts": budget > 0}
    return {} if effort == "none" else {"thinkingLevel": _LEVEL.get(effort, "HIGH"), "includeThoughts": True}


def _contents(request: CompletionRequest) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for message in request.messages:
        role = "model" if message.role == "assistant" else "user"
        parts = [found for part in message.parts if (found := _part(part))]
        if not parts:
            continue
        if out and out[-1]["role"] == role:
            out[-1]["parts"] += parts
        else:
            out.append({"role": role, "parts": parts})
    return out


def _part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"text": part.text} if part.text else None
        case Image(url=url) if url:
            raise ProviderBadRequest("Gemini takes images as data, not by address.", param="content")
        case Image():
            return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
        case File(media_type="application/pdf"):
            return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
        case File():
            return {"text": f"File {part.name}:\n{decoded_text(part)}"}
        case ToolUse():
            call = {"name": part.name, "args": arguments_object(part.arguments)} | _id(part.call_id)
            return {"functionCall": call} | ({"thoughtSignature": part.signature} if part.signature else {})
        case ToolOutput():
            response = {"error" if part.is_error else "result": part.output}
            return {"functionResponse": {"name": part.name, "response": response} | _id(part.call_id)}
    return None  # thoughts are summaries: they are not sent back, signatures travel with the calls


def _id(call_id: str) -> dict[str, str]:
    return {} if not call_id or call_id.startswith(OUR_ID) else {"id": call_id}
