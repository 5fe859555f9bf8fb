"""Our events → Anthropic's message, whole or as an event stream, and errors in Anthropic's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import orjson

from agents.calls.whole import AnswerPart, Completion
from agents.compatible import call_ids
from agents.events import NativeAnswer, ReasoningDelta, Settled, Started, TextDelta, ToolCall
from agents.messages import REDACTED
from aiagents.core import jsonio
from aiagents.core.errors import AppError
from aiagents.core.jsonio import dumps, money
from billing.pricing import Usage

JSON = dict[str, Any]
_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_ERRORS = {
    "invalid_request": "invalid_request_error",
    "not_authenticated": "authentication_error",
    "budget_exceeded": "billing_error",
    "permission_denied": "permission_error",
    "not_found": "not_found_error",
    "method_not_allowed": "invalid_request_error",
    "payload_too_large": "request_too_large",
    "conflict": "invalid_request_error",
    "rate_limited": "rate_limit_error",
    "provider_error": "overloaded_error",
    "unavailable": "overloaded_error",
}


def usage(counts: Usage) -> JSON:
    """Return the usage in Anthropic's shape, where input tokens exclude cached ones."""
    return {
        "input_tokens": counts.input_tokens - counts.cached_input_tokens - counts.cache_write_tokens,
        "cache_creation_input_tokens": counts.cache_write_tokens,
        "cache_read_input_tokens": counts.cached_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.cache_write_tokens - counts.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": counts.cache_write_1h_tokens,
        },
        "output_tokens": counts.output_tokens,
    }


def _paid(settled: Settled) -> JSON:
    return {**usage(settled.usage), "cost_usd": money(settled.cost_usd)}


def _input(call: ToolCall) -> Any:
    """Return the tool's arguments as an object. The API has no field for text that is not JSON."""
    try:
        return jsonio.exact(call.arguments or "{}")
    except ValueError:
        return {"_unparsed": call.arguments}


class Ending(TypedDict):
    stop_reason: str
    stop_sequence: str | None


class TextBlock(TypedDict):
    type: Literal["text"]
    text: str


class ThinkingBlock(TypedDict):
    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedBlock(TypedDict):
    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(TypedDict):
    type: Literal["tool_use"]
    id: str
    name: str
    input: Any


Block = TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock


def _ending(settled: Settled) -> Ending:
    stopped = settled.finish_reason == "stop" and settled.stop_sequence
    reason = "stop_sequence" if stopped else _STOP[settled.finish_reason]
    return {"stop_reason": reason, "stop_sequence": settled.stop_sequence if stopped else None}


def _block(part: AnswerPart) -> Block:
    match part:
        case ReasoningDelta() if part.signature.startswith(REDACTED):
            return {"type": "redacted_thinking", "data": part.signature.removeprefix(REDACTED)}
        case ReasoningDelta():
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case ToolCall():
            return {"type": "tool_use", "id": call_ids.join(part.call_id, part.signature), "name": part.name, "input": _input(part)}
        case TextDelta():
            return {"type": "text", "text": part.text}


def whole(answer: Completion) -> bytes:
    """Return the body of a `message`, with its blocks in the model's order."""
    content = [_block(part) for part in answer.parts if not isinstance(part, TextDelta) or part.text]
    settled = answer.settled
    body = {
        "id": f"msg_{settled.call_id.hex}",
        "type": "message",
        "role": "assistant",
        "model": settled.model,
        "content": content or [_block(TextDelta(""))],
        **_ending(settled),
        "usage": _paid(settled),
    }
    return dumps(body)


class Events:
    """Encodes the events of one streamed message. A new kind of delta closes the open block and opens another."""

    def __init__(self, started: Started, input_tokens: int) -> None:
        self._started, self._input_tokens = started, input_tokens
        self._index = -1
        self._open = ""
        self._stopped = False

    def opening(self) -> bytes:
        if self._started.native:
            return b""
        message: JSON = {
            "id": f"msg_{self._started.call_id.hex}",
            "type": "message",
            "role": "assistant",
            "model": self._started.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # Our estimate. The vendor's count arrives at the end.
            "usage": {**usage(Usage(input_tokens=self._input_tokens)), "output_tokens": 1},
        }
        return _event("message_start", {"message": message}) + _event("ping", {})

    def event(self, event: object) -> bytes:
        if isinstance(event, NativeAnswer):
            self._stopped = b"message_stop" in event.data[-100:]
            return event.data
        if isinstance(event, TextDelta):
            return self._delta("text", {"type": "text", "text": ""}, b'{"type":"text_delta","text":', event.text) if event.text else b""
        if isinstance(event, ReasoningDelta):
            if event.signature.startswith(REDACTED):
                return self._close() + self._start("redacted_thinking", _block(event)) + self._close()
            out = b""
            block: JSON = {"type": "thinking", "thinking": "", "signature": ""}
            if event.text:
                out = self._delta("thinking", block, b'{"type":"thinking_delta","thinking":', event.text)
            if event.signature:
                out += self._delta("thinking", block, b'{"type":"signature_delta","signature":', event.signature)
                out += self._close()  # a signature ends the block that it signs
            return out
        if isinstance(event, ToolCall):
            use: JSON = {**_block(event), "input": {}}
            arguments = (
                event.arguments if isinstance(_input(event), dict) and "_unparsed" not in _input(event) else dumps(_input(event)).decode()
            )
            return (
                self._close()
                + self._delta("tool_use", use, b'{"type":"input_json_delta","partial_json":', arguments or "{}")
                + self._close()
            )
        return b""

    def finish(self, settled: Settled) -> bytes:
        if self._stopped:
            return b""  # the vendor's own end was passed on
        opened = b"" if self._index >= 0 or self._started.native else self._start("text", {"type": "text", "text": ""})
        delta = {"delta": _ending(settled), "usage": _paid(settled)}
        return opened + self._close() + _event("message_delta", delta) + _event("message_stop", {})

    def failure(self, exc: AppError, request_id: str) -> bytes:
        return b"event: error\ndata: " + dumps(error_object(exc, request_id)) + b"\n\n"

    def _delta(self, kind: str, block: Mapping[str, Any], head: bytes, text: str) -> bytes:
        start = b"" if self._open == kind else self._close() + self._start(kind, block)
        return b'%bevent: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b%b}}\n\n' % (
            start, self._index, head, orjson.dumps(text),
        )  # fmt: skip

    def _start(self, kind: str, block: Mapping[str, Any]) -> bytes:
        self._index += 1
        self._open = kind
        return _event("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _event("content_block_stop", {"index": self._index})


def _event(name: str, data: JSON) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, **data}))


def error_object(exc: AppError, request_id: str) -> JSON:
    inner = {
        "type": _ERRORS.get(exc.type, "api_error"),
        "message": exc.message,
        "code": exc.code,
        "param": exc.param,
        "details": exc.details,
    }
    return {"type": "error", "error": inner, "request_id": request_id}


def error(exc: AppError, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers. 402 is Anthropic's own billing error, which clients should not retry."""
    headers = {"request-id": request_id} | ({"x-should-retry": "false"} if exc.status == 402 else {})
    return exc.status, dumps(error_object(exc, request_id)), headers
