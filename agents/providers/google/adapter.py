"""Adapter of Google's Gemini API.

The SDK builds the URL and the signed headers; we write the body and parse the answer. The SDK's own stream costs three
times the processor time of a whole call, cannot be closed (python-genai #2425) and makes an object tree of every chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from yarl import URL

from agents.messages import CompletionRequest, EmbeddingRequest, File, Image, Part, Text, ToolOutput, ToolUse
from agents.providers.answer import Answer
from agents.providers.base import Target
from agents.providers.counting import CountingProvider
from agents.providers.embedding import EmbeddingProvider
from agents.providers.errors import ModelCannotTake, ProviderBadResponse, ProviderError, retry_after
from agents.providers.google.answer import OUR_ID, GeminiAnswer, read_embeddings, refusal
from agents.providers.parts import arguments_object, decoded_text, limited_stops
from agents.providers.relay import Address
from aiagents.core import jsonio
from billing.pricing import Usage

# Google's own value for a call that no Gemini model signed.
NO_SIGNATURE = "skip_thought_signature_validator"
# Gemini 2.5 accepts a number of tokens, later models a level.
_LEAST_OF_PRO = 128  # Gemini 2.5 Pro cannot stop thinking. Source: ai.google.dev/gemini-api/docs/thinking.
_BUDGET = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
_PENALTIES = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}
# Source: github.com/dzivkovi/video-intel, release 2.7.1, which measured it.
_NO_MINIMAL = re.compile(r"3\.[78]-flash")
_MOST_STOPS = 5
# The vendor's seeds are 32-bit numbers.
_LARGEST_SEED = 2**31 - 1
# Source: ai.google.dev/gemini-api/docs/image-understanding, "Supported formats".
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_LEVEL = {"none": "LOW", "minimal": "LOW", "low": "LOW", "medium": "MEDIUM"}


class Google(EmbeddingProvider, CountingProvider):
    kind = "google"
    count_field = "totalTokens"
    tool_name = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
    # The vendor's limit per batch.
    most_inputs = 100

    def key_parts(self, target: Target) -> tuple[str, str]:
        return _base(target)[1], target.model

    def client(self, target: Target, http: httpx2.AsyncClient) -> Any:
        base_url, version = _base(target)
        options = types.HttpOptions(base_url=base_url, api_version=version, httpx_async_client=http)
        return genai.Client(api_key=target.api_key or "none", vertexai=False, http_options=options).aio.models

    async def send_sample(self, client: Any, target: Target, *, stream: bool) -> None:
        config = types.GenerateContentConfig(automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
        if stream:
            await anext(await client.generate_content_stream(model=target.model, contents=" ", config=config))
        else:
            await client.generate_content(model=target.model, contents=" ", config=config)

    async def sdk_error(self, client: Any, response: httpx2.Response) -> Exception:
        try:
            await genai_errors.APIError.raise_for_async_response(response)
        except genai_errors.APIError as exc:
            return exc
        return ProviderBadResponse()

    def payload(self, request: CompletionRequest, target: Target, *, stream: bool) -> Mapping[str, Any]:
        return body(request, target)

    def native_content(self, request: CompletionRequest, target: Target, *, stream: bool) -> bytes | None:
        native = self._native(request, target)
        return None if native is None else jsonio.dumps(native)

    def _native(self, request: CompletionRequest, target: Target) -> Mapping[str, Any] | None:
        """Return the client's own body. Calls that no Gemini model signed get Google's value for them, as in `body`."""
        native = request.native
        if native is None or native.provider != self.kind:
            return None
        config = dict(native.body["generationConfig"])
        if request.max_output_tokens is not None:
            config["maxOutputTokens"] = request.output_limit(target.max_output_tokens)
        contents = native.body["contents"]
        if _from_three(target.model):
            contents = [_signed(content) for content in contents]
        return {**native.body, "contents": contents, "generationConfig": config}

    def embedding_url(self, address: Address) -> URL:
        return URL(str(address.url).rpartition(":")[0] + ":batchEmbedContents", encoded=True)

    def embedding_payload(self, request: EmbeddingRequest, target: Target) -> dict[str, Any]:
        size: dict[str, Any] = {"outputDimensionality": request.dimensions} if request.dimensions else {}
        if request.task:
            size["taskType"] = request.task
        model = f"models/{target.model.removeprefix('models/')}"
        return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **size} for text in request.inputs]}

    def read_embeddings(self, body: bytes) -> tuple[list[bytes], Usage | None]:
        return read_embeddings(body)

    def count_url(self, address: Address) -> URL:
        return URL(str(address.url).rpartition(":")[0] + ":countTokens", encoded=True)

    def count_content(self, request: CompletionRequest, target: Target) -> bytes:
        model = f"models/{target.model.removeprefix('models/')}"
        return jsonio.dumps({"generateContentRequest": {"model": model, **(self._native(request, target) or body(request, target))}})

    def answer(self, target: Target) -> Answer:
        return GeminiAnswer()

    def translate(self, exc: Exception, target: Target) -> ProviderError | None:
        if not isinstance(exc, genai_errors.APIError):
            return None
        headers = exc.response.headers if isinstance(exc.response, httpx2.Response) else {}
        return refusal(exc.details, exc.code, target, retry_after(headers))


def _base(target: Target) -> tuple[str, str]:
    """Return base URL and API version: the version in the URL, else the one that the model needs."""
    base, _, version = target.base_url.rstrip("/").rpartition("/")
    return (base, version) if version in ("v1", "v1beta", "v1alpha") else (target.base_url, _version(target.model))


def _version(model: str) -> str:
    """Return the API version of a model: aliases, previews and embeddings exist on v1beta only."""
    return "v1beta" if any(mark in model for mark in ("latest", "preview", "exp", "embedding")) else "v1"


def body(request: CompletionRequest, target: Target) -> dict[str, Any]:
    """Return the request's JSON body. It only declares tools: the SDK executes none."""
    out: dict[str, Any] = {"contents": _contents(request, target.model)}
    wanted = request.response_format
    # Models before Gemini 3 take no JSON format beside function tools.
    in_words = wanted is not None and bool(request.tools) and not _from_three(target.model)
    system = "\n\n".join(filter(None, (request.system, _json_in_words(wanted) if wanted and in_words else "")))
    if system:
        out["systemInstruction"] = {"parts": [{"text": system}]}
    if request.tools:
        out["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
        if request.tool_choice != "auto":
            calling: dict[str, Any] = {"mode": {"none": "NONE"}.get(request.tool_choice, "ANY")}
            if request.tool_choice not in ("none", "required"):
                calling["allowedFunctionNames"] = [request.tool_choice]
            out["toolConfig"] = {"functionCallingConfig": calling}
    config: dict[str, Any] = {}
    if request.max_output_tokens is not None:
        config["maxOutputTokens"] = request.output_limit(target.max_output_tokens)
    if target.temperature:
        seed = None if request.seed is None else request.seed & _LARGEST_SEED
        sampling: dict[str, Any] = {"temperature": request.temperature, "topP": request.top_p, "seed": seed}
        sampling |= {"topK": request.extra.get("top_k")} | {camel: request.extra.get(name) for name, camel in _PENALTIES.items()}
        config |= {name: value for name, value in sampling.items() if value is not None}
    if resolution := _resolution(request):
        config["mediaResolution"] = resolution
    if request.stop:
        config["stopSequences"] = limited_stops(request.stop, _MOST_STOPS)
    if wanted and not in_words:
        config["responseMimeType"] = "application/json"
        if wanted.get("type") == "json_schema":
            config["responseJsonSchema"] = wanted.get("schema") or {}
    if request.reasoning_effort and target.reasoning:
        config["thinkingConfig"] = _thinking(request.reasoning_effort, target.model)
    return out | {"generationConfig": config}


def _json_in_words(wanted: Mapping[str, Any]) -> str:
    """Return the instruction for a JSON answer."""
    shape = f" It must fit this JSON schema: {jsonio.dumps(wanted.get('schema') or {}).decode()}" if wanted["type"] == "json_schema" else ""
    return f"Your final answer is one JSON object and nothing else: no prose, no code fence.{shape}"


def _declaration(tool: Any) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}


def _thinking(effort: str, model: str) -> dict[str, Any]:
    """Return how much the model thinks. `none` is the least that it takes: without it, it thinks much."""
    small = "pro" not in model and "argon" not in model
    if "2.5" in model:
        budget = _BUDGET.get(effort, 24576) or (0 if small else _LEAST_OF_PRO)
        return {"thinkingBudget": budget, "includeThoughts": effort != "none"}
    level = "MINIMAL" if small and effort in ("none", "minimal") and not _NO_MINIMAL.search(model) else _LEVEL.get(effort, "HIGH")
    return {"thinkingLevel": level, "includeThoughts": effort != "none"}


def _from_three(model: str) -> bool:
    """Return whether this is Gemini 3 or later: it refuses a tool call without a signature, and takes media in results."""
    found = re.search(r"gemini-(\d+)", model)
    return int(found[1]) >= 3 if found else "gemini" in model


def _resolution(request: CompletionRequest) -> str:
    """Return the resolution for images with a detail: one for the whole request, the finest of those that are named."""
    details = {part.detail for part in _images(request)}
    if details & {"high", "original"}:
        return "MEDIA_RESOLUTION_HIGH"
    return "MEDIA_RESOLUTION_LOW" if details == {"low"} else ""


def _images(request: CompletionRequest) -> Iterator[Image]:
    for message in request.messages:
        for part in message.parts:
            for one in (part, *(part.parts if isinstance(part, ToolOutput) else ())):
                if isinstance(one, Image):
                    yield one


def _contents(request: CompletionRequest, model: str) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    from_three = _from_three(model)
    for message in request.messages:
        role = "model" if message.role == "assistant" else "user"
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            if not (found := _part(part)):
                continue
            parts.append(found)
            if isinstance(part, ToolOutput) and part.media:
                media = [one for inner in part.media if (one := _part(inner))]
                if from_three and all("inlineData" in one for one in media):
                    found["functionResponse"]["parts"] = media
                else:  # older models take them behind the result
                    parts += media
        if not parts:
            continue
        # Of parallel calls only the first has a signature. A call from another model's history has none.
        first = next((part for part in parts if "functionCall" in part), None)
        if from_three and first is not None:
            first.setdefault("thoughtSignature", NO_SIGNATURE)
        if out and out[-1]["role"] == role:
            out[-1]["parts"] += parts
        else:
            out.append({"role": role, "parts": parts})
    return out


def _signed(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a content of the client whose first call has a signature: Gemini 3 and later refuse one without."""
    parts = content.get("parts") or []
    for number, part in enumerate(parts):
        if "functionCall" in part or "function_call" in part:
            if part.get("thoughtSignature") or part.get("thought_signature"):
                return content
            return {**content, "parts": [*parts[:number], {**part, "thoughtSignature": NO_SIGNATURE}, *parts[number + 1 :]]}
    return content


def _part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"text": part.text} if part.text else None
        case Image(url=url) if url:
            raise ModelCannotTake("Gemini accepts images as data, not as a URL.", param="content")
        case Image(media_type=media_type) if media_type not in _IMAGES:
            raise ModelCannotTake(f"Gemini accepts PNG, JPEG, WebP and HEIC images, not {media_type}.", param="content")
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
    return None  # thoughts are only summaries; signatures are sent with the tool calls


def _id(call_id: str) -> dict[str, str]:
    return {} if not call_id or call_id.startswith(OUR_ID) else {"id": call_id}
