"""Our events → OpenAI's chat completion, whole or in chunks, and errors in OpenAI's shape."""

from __future__ import annotations

import time
from typing import Any

import orjson

from agents.calls.whole import Completion
from agents.compatible import call_ids
from agents.events import NativeAnswer, ReasoningDelta, Settled, Started, TextDelta, ToolCall
from aiagents.core.errors import AppError
from aiagents.core.jsonio import dumps, money
from billing.pricing import Usage

JSON = dict[str, Any]
DONE = b"data: [DONE]\n\n"
# The text of a refusal to which the vendor adds no words: the clients know a refusal by a text that is not empty.
REFUSED = "The model refused to answer."
# Our error types → the types that OpenAI's clients know.
_ERRORS = {
    "invalid_request": "invalid_request_error",
    "not_authenticated": "authentication_error",
    "permission_denied": "permission_error",
    "not_found": "invalid_request_error",
    "method_not_allowed": "invalid_request_error",
    "payload_too_large": "invalid_request_error",
    "conflict": "invalid_request_error",
    "budget_exceeded": "insufficient_quota",
    "rate_limited": "rate_limit_error",
}


def usage(counts: Usage) -> JSON:
    return {
        "prompt_tokens": counts.input_tokens,
        "completion_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning_tokens, "audio_tokens": 0},
    }


def total(settled: list[Settled]) -> JSON:
    """Return the usage of one answer. Our addition `cost_usd` is the charge."""
    counts = sum((one.usage for one in settled), Usage())
    return {**usage(counts), "cost_usd": money(sum((one.cost_usd for one in settled), start=settled[0].cost_usd * 0))}


def whole(request_id: str, answers: list[Completion]) -> bytes:
    """Return the body of a `chat.completion`: the vendor's own, if it came in its own words."""
    if answers[0].native:
        return answers[0].native
    first = answers[0].settled
    body = {
        "id": f"chatcmpl-{first.call_id.hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": first.model,
        "system_fingerprint": None,
        "choices": [_choice(index, answer) for index, answer in enumerate(answers)],
        "usage": total([answer.settled for answer in answers]),
    }
    return dumps(body)


def _choice(index: int, answer: Completion) -> JSON:
    calls = [_tool_call(part) for part in answer.parts if isinstance(part, ToolCall)]
    refusal = refusal_of(answer)
    message: JSON = {"role": "assistant", "content": answer.text, "refusal": refusal}
    if not answer.text and (calls or refusal is not None):
        message["content"] = None
    if reasoning := "".join(part.text for part in answer.parts if isinstance(part, ReasoningDelta)):
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    finish = finish_of(answer.settled, refused=refusal is not None)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def finish_of(settled: Settled, *, refused: bool) -> str:
    """Return the finish reason. The clients take a filtered answer for a failure, and a refusal for an answer."""
    return "stop" if refused and settled.finish_reason == "content_filter" else settled.finish_reason


def refusal_of(answer: Completion) -> str | None:
    """Return the text of the model's refusal; None if it did not refuse."""
    refused = [part.text for part in answer.parts if isinstance(part, TextDelta) and part.refusal]
    return ("".join(refused) or REFUSED) if refused else None


def _tool_call(call: ToolCall) -> JSON:
    """Return a tool call. Gemini's signature stands in its id, and where Google's own OpenAI API has it."""
    call_id = call_ids.join(call.call_id, call.signature)
    shown: JSON = {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return shown | ({"extra_content": {"google": {"thought_signature": call.signature}}} if call.signature else {})


class Chunks:
    """Encodes the chunks of one streamed answer. Their constant parts are encoded once."""

    def __init__(self, started: Started, include_usage: bool) -> None:
        head = {
            "id": f"chatcmpl-{started.call_id.hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": started.model,
            "system_fingerprint": None,
        }
        self._head = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
        # With include_usage every chunk but the last carries "usage": null, as OpenAI's do.
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._include_usage = include_usage
        self._native, self._ended = started.native, False
        self._calls: dict[int, int] = {}
        # For each choice that is a refusal, whether it has words.
        self._refused: dict[int, bool] = {}

    def opening(self, index: int) -> bytes:
        if self._native:
            return b""
        return self._delta(index, b'{"role":"assistant","content":"","refusal":null}')

    def event(self, event: object, index: int) -> bytes:
        """Return one delta as one chunk; empty for events that the API does not show."""
        if type(event) is NativeAnswer:
            self._ended = self._ended or b"data: [DONE]" in event.data
            return event.data
        if type(event) is TextDelta:
            if event.refusal:
                self._refused[index] = self._refused.get(index, False) or bool(event.text)
                return self._delta(index, b'{"refusal":' + orjson.dumps(event.text) + b"}") if event.text else b""
            return self._delta(index, b'{"content":' + orjson.dumps(event.text) + b"}") if event.text else b""
        if type(event) is ToolCall:
            number = self._calls[index] = self._calls.get(index, -1) + 1
            return self._delta(index, orjson.dumps({"tool_calls": [{"index": number, **_tool_call(event)}]}))
        if type(event) is ReasoningDelta and event.text:
            return self._delta(index, b'{"reasoning_content":' + orjson.dumps(event.text) + b"}")
        return b""

    def finish(self, settled: Settled, index: int) -> bytes:
        if self._ended:
            return b""  # the vendor's own end was passed on
        refused = index in self._refused
        words = b'{"refusal":' + orjson.dumps(REFUSED) + b"}" if refused and not self._refused[index] else b"{}"
        return self._delta(index, words, orjson.dumps(finish_of(settled, refused=refused)))

    def ending(self, settled: list[Settled]) -> bytes:
        """Return the usage chunk, if it was requested, and `[DONE]`."""
        if self._ended:
            return b""
        if not self._include_usage:
            return DONE
        return self._head + b'],"usage":' + orjson.dumps(total(settled)) + b"}\n\n" + DONE

    def _delta(self, index: int, delta: bytes, finish: bytes = b"null") -> bytes:
        return b'%b{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}%b' % (self._head, index, delta, finish, self._tail)


def error_object(exc: AppError, request_id: str) -> JSON:
    kind = _ERRORS.get(exc.type, "server_error")
    code = {"budget_exceeded": "insufficient_quota", "not_authenticated": "invalid_api_key"}.get(exc.type, exc.code)
    return {"message": exc.message, "type": kind, "param": exc.param, "code": code, "details": exc.details, "request_id": request_id}


def error(exc: AppError, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers. A spent budget is 429 insufficient_quota, which OpenAI's clients do not retry."""
    status = 429 if exc.status == 402 else exc.status
    headers = {"x-should-retry": "false"} if exc.status == 402 else {}
    return status, dumps({"error": error_object(exc, request_id)}), headers


def error_event(exc: AppError, request_id: str) -> bytes:
    """Return the event of an error after the start of the stream. OpenAI's clients raise it as an APIError."""
    return b"data: " + dumps({"error": error_object(exc, request_id)}) + b"\n\n"
