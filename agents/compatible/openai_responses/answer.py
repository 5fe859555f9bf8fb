"""Our events → OpenAI's response object, whole or as an event stream."""

from __future__ import annotations

import time
from typing import Any

from agents.calls.whole import Completion
from agents.compatible.openai_chat.answer import error_object
from agents.events import ReasoningDelta, Settled, Started, TextDelta, ToolCall
from aiagents.core.errors import AppError
from aiagents.core.jsonio import dumps, money
from billing.pricing import Usage

JSON = dict[str, Any]
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _usage(settled: Settled) -> JSON:
    counts: Usage = settled.usage
    return {
        "input_tokens": counts.input_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_input_tokens, "cache_write_tokens": counts.cache_write_tokens},
        "output_tokens": counts.output_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.input_tokens + counts.output_tokens,
        "cost_usd": money(settled.cost_usd),
    }


def _base(call_id: str, model: str, requested: JSON) -> JSON:
    return {
        "id": f"resp_{call_id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": requested.get("instructions"),
        "max_output_tokens": requested.get("max_output_tokens"),
        "metadata": requested.get("metadata") or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": requested.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": requested.get("temperature"),
        "tool_choice": requested.get("tool_choice") or "auto",
        "tools": requested.get("tools") or [],
        "top_p": requested.get("top_p"),
        "usage": None,
    }


def _finished(base: JSON, output: list[JSON], settled: Settled) -> JSON:
    reason = _INCOMPLETE.get(settled.finish_reason)
    status = {"status": "incomplete", "incomplete_details": {"reason": reason}} if reason else {"status": "completed"}
    return {**base, **status, "output": output, "usage": _usage(settled)}


def _message(item_id: str, text: str, status: str = "completed") -> JSON:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}] if status == "completed" else []
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def _function_call(item_id: str, call: ToolCall) -> JSON:
    return {
        "id": item_id,
        "type": "function_call",
        "status": "completed",
        "call_id": call.call_id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _reasoning(item_id: str, text: str) -> JSON:
    return {"id": item_id, "type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


def whole(answer: Completion, requested: JSON) -> bytes:
    """Return the body of a `response`."""
    key = answer.settled.call_id.hex
    output: list[JSON] = [_reasoning(f"rs_{key}", answer.reasoning)] if answer.reasoning else []
    if answer.text or not answer.tool_calls:
        output.append(_message(f"msg_{key}", answer.text))
    output += [_function_call(f"fc_{key}_{number}", call) for number, call in enumerate(answer.tool_calls)]
    return dumps(_finished(_base(key, answer.settled.model, requested), output, answer.settled))


class Events:
    """Encodes the events of one streamed response. A new kind of delta closes the open item and opens another."""

    def __init__(self, started: Started, requested: JSON) -> None:
        self._key = started.call_id.hex
        self._base = _base(self._key, started.model, requested)
        self._number = -1
        self._output: list[JSON] = []
        self._open = ""
        self._text: list[str] = []

    def opening(self) -> bytes:
        return self._event("response.created", {"response": self._base}) + self._event("response.in_progress", {"response": self._base})

    def event(self, event: object) -> bytes:
        if isinstance(event, TextDelta) and event.text:
            start = b"" if self._open == "message" else self._close() + self._start_message()
            self._text.append(event.text)
            return start + self._event("response.output_text.delta", {**self._part(), "delta": event.text, "logprobs": []})
        if isinstance(event, ReasoningDelta) and event.text:
            start = b"" if self._open == "reasoning" else self._close() + self._start_reasoning()
            self._text.append(event.text)
            return start + self._event("response.reasoning_summary_text.delta", {**self._summary(), "delta": event.text})
        if isinstance(event, ToolCall):
            return self._close() + self._tool_call(event)
        return b""

    def finish(self, settled: Settled) -> bytes:
        opened = b"" if self._output or self._open else self._start_message()
        closed = self._close()
        response = _finished(self._base, self._output, settled)
        return opened + closed + self._event(f"response.{response['status']}", {"response": response})

    def failure(self, exc: AppError, request_id: str) -> bytes:
        error = error_object(exc, request_id)
        response = {**self._base, "status": "failed", "output": self._output, "error": {"code": "server_error", "message": exc.message}}
        return self._close() + self._event(
            "response.failed", {"response": response | {"error": {**response["error"], "details": error["details"]}}}
        )

    def _item_id(self) -> str:
        return f"{ {'message': 'msg', 'reasoning': 'rs', 'call': 'fc'}[self._open or 'call'] }_{self._key}_{len(self._output)}"

    def _part(self) -> JSON:
        return {"item_id": self._item_id(), "output_index": len(self._output), "content_index": 0}

    def _summary(self) -> JSON:
        return {"item_id": self._item_id(), "output_index": len(self._output), "summary_index": 0}

    def _start_message(self) -> bytes:
        self._open, self._text = "message", []
        item = _message(self._item_id(), "", "in_progress")
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        added = self._event("response.output_item.added", {"output_index": len(self._output), "item": item})
        return added + self._event("response.content_part.added", {**self._part(), "part": part})

    def _start_reasoning(self) -> bytes:
        self._open, self._text = "reasoning", []
        item = {"id": self._item_id(), "type": "reasoning", "summary": []}
        added = self._event("response.output_item.added", {"output_index": len(self._output), "item": item})
        return added + self._event(
            "response.reasoning_summary_part.added", {**self._summary(), "part": {"type": "summary_text", "text": ""}}
        )

    def _close(self) -> bytes:
        if not self._open:
            return b""
        text, out = "".join(self._text), b""
        if self._open == "message":
            part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
            out += self._event("response.output_text.done", {**self._part(), "text": text, "logprobs": []})
            out += self._event("response.content_part.done", {**self._part(), "part": part})
            item = _message(self._item_id(), text)
        else:
            out += self._event("response.reasoning_summary_text.done", {**self._summary(), "text": text})
            out += self._event("response.reasoning_summary_part.done", {**self._summary(), "part": {"type": "summary_text", "text": text}})
            item = _reasoning(self._item_id(), text)
        out += self._event("response.output_item.done", {"output_index": len(self._output), "item": item})
        self._open = ""
        self._output.append(item)
        return out

    def _tool_call(self, call: ToolCall) -> bytes:
        item = _function_call(self._item_id(), call)
        at = {"item_id": item["id"], "output_index": len(self._output)}
        out = self._event(
            "response.output_item.added", {"output_index": at["output_index"], "item": {**item, "status": "in_progress", "arguments": ""}}
        )
        out += self._event("response.function_call_arguments.delta", {**at, "delta": call.arguments})
        out += self._event("response.function_call_arguments.done", {**at, "name": call.name, "arguments": call.arguments})
        out += self._event("response.output_item.done", {"output_index": at["output_index"], "item": item})
        self._output.append(item)
        return out

    def _event(self, name: str, data: JSON) -> bytes:
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, "sequence_number": self._number, **data}))
