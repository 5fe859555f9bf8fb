"""Our events → Anthropic's message, whole or as an event stream, and errors in Anthropic's shape."""

from __future__ import annotations

from typing import Any

import orjson

from agents.calls.whole import Completion
from agents.events import NativeAnswer, ReasoningDelta, Settled, Started, TextDelta, ToolCall
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
    "error": "end_turn",
    "cancelled": "end_turn",
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


def whole(answer: Completion, signature: str = "") -> bytes:
    """Return the body of a `message`."""
    content: list[JSON] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": signature})
    if answer.text or not answer.tool_calls:
        content.append({"type": "text", "text": answer.text})
    content += [{"type": "tool_use", "id": call.call_id, "name": call.name, "input": _input(call)} for call in answer.tool_calls]
    settled = answer.settled
    body = {
        "id": f"msg_{settled.call_id.hex}",
        "type": "message",
        "role": "assistant",
        "model": settled.model,
        "content": content,
        "stop_reason": _STOP[settled.finish_reason],
        "stop_sequence": None,
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
            out = b""
            block: JSON = {"type": "thinking", "thinking": "", "signature": ""}
            if event.text:
                out = self._delta("thinking", block, b'{"type":"thinking_delta","thinking":', event.text)
            if event.signature:
                out += self._delta("thinking", block, b'{"type":"signature_delta","signature":', event.signature)
            return out
        if isinstance(event, ToolCall):
            use: JSON = {"type": "tool_use", "id": event.call_id, "name": event.name, "input": {}}
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
        delta = {"delta": {"stop_reason": _STOP[settled.finish_reason], "stop_sequence": None}, "usage": _paid(settled)}
        return opened + self._close() + _event("message_delta", delta) + _event("message_stop", {})

    def failure(self, exc: AppError, request_id: str) -> bytes:
        return b"event: error\ndata: " + dumps(error_object(exc, request_id)) + b"\n\n"

    def _delta(self, kind: str, block: JSON, head: bytes, text: str) -> bytes:
        start = b"" if self._open == kind else self._close() + self._start(kind, block)
        return b'%bevent: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b%b}}\n\n' % (
            start, self._index, head, orjson.dumps(text),
        )  # fmt: skip

    def _start(self, kind: str, block: JSON) -> bytes:
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
