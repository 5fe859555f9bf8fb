"""Our events → Gemini's GenerateContentResponse, whole or as chunks, and errors in Google's shape."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from agents.calls.whole import AnswerPart, Completion
from agents.compatible import call_ids, thoughts
from agents.compatible.google_generate.contents import SEALED
from agents.events import NativeAnswer, ReasoningDelta, Settled, Started, TextDelta, ToolCall
from agents.providers.transport import payload_of
from aiagents.core import jsonio
from aiagents.core.errors import AppError
from aiagents.core.jsonio import dumps
from billing.pricing import Usage

_FINISH = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
# google.rpc.Code by HTTP status.
_STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED", 409: "ABORTED",
    413: "INVALID_ARGUMENT", 415: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_MOST_METADATA = 500


class Body(TypedDict, total=False):
    """A response or a chunk of one, as far as we write it."""

    candidates: list[Mapping[str, Any]]
    usageMetadata: dict[str, int]
    modelVersion: str
    responseId: str


def usage(counts: Usage) -> dict[str, int]:
    """Return the usage in Google's shape, where thoughts are counted beside the candidates."""
    found = {
        "promptTokenCount": counts.input_tokens,
        "candidatesTokenCount": counts.output_tokens - counts.reasoning_tokens,
        "totalTokenCount": counts.input_tokens + counts.output_tokens,
    }
    if counts.reasoning_tokens:
        found["thoughtsTokenCount"] = counts.reasoning_tokens
    if counts.cached_input_tokens:
        found["cachedContentTokenCount"] = counts.cached_input_tokens
    return found


def _part(part: AnswerPart, provider: str) -> Mapping[str, Any]:
    """Return a part. Thinking that its vendor takes back keeps its signature, which clients return unchanged."""
    match part:
        case TextDelta():
            return {"text": part.text}
        case ReasoningDelta():
            sealed = {"thoughtSignature": _sealed(provider, part.signature)} if part.signature else {}
            return {"text": part.text, "thought": True, **sealed}
        case ToolCall():
            own, _ = call_ids.split(part.call_id)
            call = {"functionCall": {"id": own, "name": part.name, "args": _arguments(part.arguments)}}
            return call | ({"thoughtSignature": part.signature} if part.signature else {})


def _sealed(provider: str, signature: str) -> str:
    return base64.b64encode(f"{SEALED}{thoughts.seal(provider, signature)}".encode()).decode()


def _arguments(text: str) -> Any:
    """Return the arguments as an object. The API has no field for text that is not JSON."""
    try:
        found = jsonio.exact(text or "{}")
    except ValueError:
        return {"_unparsed": text}
    return found if isinstance(found, dict) else {"_unparsed": text}


def _body(parts: list[Mapping[str, Any]], model: str, call_id: str, finish: str | None = None, counts: Usage | None = None) -> Body:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = _FINISH.get(finish, "STOP")
    body: Body = {"candidates": [candidate]}
    if counts is not None:
        body["usageMetadata"] = usage(counts)
    body["modelVersion"], body["responseId"] = model, call_id
    return body


def whole(answer: Completion) -> bytes:
    """Return the body of a whole answer."""
    settled = answer.settled
    parts = [_part(part, settled.provider) for part in answer.parts]
    return dumps(_body(parts, settled.model, settled.call_id.hex, settled.finish_reason, settled.usage))


class Chunks:
    """Encodes the chunks of one streamed answer: as Server-Sent Events, or as the elements of a JSON array."""

    def __init__(self, started: Started, *, sse: bool) -> None:
        self._started, self._sse = started, sse
        self._begun = False

    def opening(self) -> bytes:
        return b"" if self._sse else b"["

    def event(self, event: object) -> bytes:
        """Return a chunk; empty for events that the API does not show."""
        if isinstance(event, NativeAnswer):
            if self._sse:
                return event.data
            return self._written(payload for one in event.data.split(b"\n\n") if (payload := payload_of(one)))
        if isinstance(event, TextDelta | ReasoningDelta | ToolCall):
            if isinstance(event, TextDelta) and not event.text:
                return b""
            return self._chunk(_body([_part(event, self._started.provider)], self._started.model, self._started.call_id.hex))
        return b""

    def finish(self, settled: Settled) -> bytes:
        """Return the last chunk, with the usage. The vendor's own events have it already."""
        if self._started.native:
            last = b""
        else:
            last = self._chunk(_body([], self._started.model, self._started.call_id.hex, settled.finish_reason, settled.usage))
        return last if self._sse else last + b"]"

    def failure(self, exc: AppError, request_id: str) -> bytes:
        """Return the end of a stream that failed. Google's SDK raises it as an APIError."""
        last = self._written([error(exc, request_id)[1]])
        return last if self._sse else last + b"]"

    def _chunk(self, body: Body) -> bytes:
        return self._written([dumps(body)])

    def _written(self, payloads: Iterable[bytes]) -> bytes:
        if self._sse:
            return b"".join(b"data: " + payload + b"\r\n\r\n" for payload in payloads)
        out = []
        for payload in payloads:
            out.append((b",\r\n" if self._begun else b"") + payload)
            self._begun = True
        return b"".join(out)


def error(exc: AppError, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers. A spent budget is 429, as Google's own quota; our code is the `reason` of the details."""
    status = 429 if exc.status == 402 else exc.status
    known = {name: str(value)[:_MOST_METADATA] for name, value in (exc.details or {}).items()}
    metadata = {"request_id": request_id, "type": exc.type, **({"param": exc.param} if exc.param else {}), **known}
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": exc.code, "domain": "aiagents", "metadata": metadata}
    found = {"code": status, "message": exc.message, "status": _STATUS.get(status, "UNKNOWN"), "details": [info]}
    return status, dumps({"error": found}), {}
