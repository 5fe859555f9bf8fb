"""Our events → OpenAI's response object, whole or as an event stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from agents.calls.whole import Completion
from agents.compatible import call_ids, thoughts
from agents.compatible.openai_chat.answer import REFUSED, error_object, finish_of
from agents.compatible.openai_responses import kept
from agents.events import NativeAnswer, ReasoningDelta, Settled, Started, TextDelta, ToolCall
from aiagents.core.errors import AppError
from aiagents.core.jsonio import dumps, money
from billing.pricing import Usage

JSON = dict[str, Any]
# Prefix of an item's id by the kind of the open item; without an open item it is a tool call's.
_PREFIXES = {"message": "msg", "refusal": "msg", "reasoning": "rs", "": "fc"}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# How the last event of a vendor's own stream begins.
_ENDS = (b"event: response.completed\n", b"event: response.incomplete\n")


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
        "previous_response_id": requested.get("previous_response_id"),
        "store": kept.wanted(requested),
        "temperature": requested.get("temperature"),
        "tool_choice": requested.get("tool_choice") or "auto",
        "tools": requested.get("tools") or [],
        "top_p": requested.get("top_p"),
        "usage": None,
    }


def _finished(base: JSON, output: list[JSON], settled: Settled, refused: bool) -> JSON:
    """Return the ended response. A refusal is a complete answer; its part of the type `refusal` tells it apart."""
    reason = _INCOMPLETE.get(finish_of(settled, refused=refused))
    status = {"status": "incomplete", "incomplete_details": {"reason": reason}} if reason else {"status": "completed"}
    return {**base, **status, "output": output, "usage": _usage(settled)}


class TextPart(TypedDict):
    type: Literal["output_text"]
    text: str
    annotations: list[JSON]
    logprobs: list[JSON]


class RefusalPart(TypedDict):
    type: Literal["refusal"]
    refusal: str


def _text_part(text: str) -> TextPart:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _refusal_part(text: str) -> RefusalPart:
    return {"type": "refusal", "refusal": text}


def _message(item_id: str, content: Sequence[TextPart | RefusalPart], status: str = "completed") -> JSON:
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def _function_call(item_id: str, call: ToolCall) -> JSON:
    return {
        "id": item_id,
        "type": "function_call",
        "status": "completed",
        "call_id": call_ids.join(call.call_id, call.signature),
        "name": call.name,
        "arguments": call.arguments,
    }


def _reasoning(item_id: str, text: str, encrypted: str = "") -> JSON:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"id": item_id, "type": "reasoning", "summary": summary} | ({"encrypted_content": encrypted} if encrypted else {})


def _encrypts(requested: JSON) -> bool:
    include = requested.get("include")
    return isinstance(include, list) and thoughts.ENCRYPTED in include


class _Output:
    """The items of an answer as its client gets them, and as they are kept: with encrypted thinking in any case."""

    def __init__(self, requested: JSON) -> None:
        self.shown: list[JSON] = []
        self.kept: list[JSON] = []
        self.encrypts = _encrypts(requested)

    def add(self, item: JSON) -> None:
        self.shown.append(item)
        self.kept.append(item)

    def add_reasoning(self, item_id: str, text: str, encrypted: str) -> None:
        """Add thinking. Without a text its client gets it only if it asked for the encrypted content."""
        if text or (encrypted and self.encrypts):
            self.shown.append(_reasoning(item_id, text, encrypted if self.encrypts else ""))
        elif encrypted:  # an id that no later item of the answer has
            item_id = f"{item_id}_hidden_{len(self.kept)}"
        if text or encrypted:
            self.kept.append(_reasoning(item_id, text, encrypted))


def whole(answer: Completion, requested: JSON) -> tuple[bytes, kept.Written]:
    """Return the body of a `response`, with its items in the model's order, and what is kept of it."""
    if answer.native:
        return answer.native, kept.Written(answer.native)
    key = answer.settled.call_id.hex
    output = _Output(requested)
    refused = False
    for part in answer.parts:
        number = len(output.shown)
        match part:
            case TextDelta(refusal=True):
                refused = True
                output.add(_message(f"msg_{key}_{number}", [_refusal_part(part.text or REFUSED)]))
            case TextDelta() if part.text:
                output.add(_message(f"msg_{key}_{number}", [_text_part(part.text)]))
            case ReasoningDelta():
                encrypted = thoughts.seal(answer.settled.provider, part.signature) if part.signature else ""
                output.add_reasoning(f"rs_{key}_{number}", part.text, encrypted)
            case ToolCall():
                output.add(_function_call(f"fc_{key}_{number}", part))
    if all(item["type"] == "reasoning" for item in output.shown):
        output.add(_message(f"msg_{key}_{len(output.shown)}", [_text_part("")]))
    response = _finished(_base(key, answer.settled.model, requested), output.shown, answer.settled, refused)
    return dumps(response), kept.Written(response, output.kept)


class Events:
    """Encodes the events of one streamed response. A new kind of delta closes the open item and opens another."""

    def __init__(self, started: Started, requested: JSON) -> None:
        self._key = started.call_id.hex
        self._base = _base(self._key, started.model, requested)
        self._number = -1
        self._items = _Output(requested)
        self._output = self._items.shown
        self._open = ""
        self._text: list[str] = []
        self._refused = False
        self._started, self._ended = started, False
        self._provider = started.provider
        # The answer, once it has ended well.
        self.written: kept.Written | None = None

    def opening(self) -> bytes:
        if self._started.native:
            return b""
        return self._event("response.created", {"response": self._base}) + self._event("response.in_progress", {"response": self._base})

    def event(self, event: object) -> bytes:
        if isinstance(event, NativeAnswer):
            if not self._ended and (begins := max(map(event.data.find, _ENDS))) >= 0:
                self._ended, self.written = True, kept.Written(event.data[begins:])
            return event.data
        if isinstance(event, TextDelta) and event.refusal:
            self._refused = True
            start = b"" if self._open == "refusal" else self._close() + self._start_message("refusal")
            self._text.append(event.text)
            return start + (self._event("response.refusal.delta", {**self._part(), "delta": event.text}) if event.text else b"")
        if isinstance(event, TextDelta) and event.text:
            start = b"" if self._open == "message" else self._close() + self._start_message()
            self._text.append(event.text)
            return start + self._event("response.output_text.delta", {**self._part(), "delta": event.text, "logprobs": []})
        if isinstance(event, ReasoningDelta) and event.text:
            start = b"" if self._open == "reasoning" else self._close() + self._start_reasoning()
            start += b"" if self._text else self._start_summary()
            self._text.append(event.text)
            return start + self._event("response.reasoning_summary_text.delta", {**self._summary(), "delta": event.text})
        if isinstance(event, ReasoningDelta) and event.signature:
            encrypted = thoughts.seal(self._provider, event.signature)
            if self._open == "reasoning":
                return self._close(encrypted)
            closed = self._close()
            if not self._items.encrypts:
                self._items.add_reasoning(f"rs_{self._key}_{len(self._output)}", "", encrypted)
                return closed
            return closed + self._start_reasoning() + self._close(encrypted)
        if isinstance(event, ToolCall):
            return self._close() + self._tool_call(event)
        return b""

    def finish(self, settled: Settled) -> bytes:
        if self._ended:
            return b""  # the vendor's own end was passed on
        closed = self._close()
        if all(item["type"] == "reasoning" for item in self._output):
            closed += self._start_message() + self._close()
        response = _finished(self._base, self._output, settled, self._refused)
        self.written = kept.Written(response, self._items.kept)
        return closed + self._event(f"response.{response['status']}", {"response": response})

    def failure(self, exc: AppError, request_id: str) -> bytes:
        error = error_object(exc, request_id)
        response = {**self._base, "status": "failed", "output": self._output, "error": {"code": "server_error", "message": exc.message}}
        return self._close() + self._event(
            "response.failed", {"response": response | {"error": {**response["error"], "details": error["details"]}}}
        )

    def _item_id(self) -> str:
        return f"{_PREFIXES[self._open]}_{self._key}_{len(self._output)}"

    def _part(self) -> JSON:
        return {"item_id": self._item_id(), "output_index": len(self._output), "content_index": 0}

    def _summary(self) -> JSON:
        return {"item_id": self._item_id(), "output_index": len(self._output), "summary_index": 0}

    def _start_message(self, kind: str = "message") -> bytes:
        self._open, self._text = kind, []
        item = _message(self._item_id(), [], "in_progress")
        part: TextPart | RefusalPart = _refusal_part("") if kind == "refusal" else _text_part("")
        added = self._event("response.output_item.added", {"output_index": len(self._output), "item": item})
        return added + self._event("response.content_part.added", {**self._part(), "part": part})

    def _start_reasoning(self) -> bytes:
        self._open, self._text = "reasoning", []
        return self._event("response.output_item.added", {"output_index": len(self._output), "item": _reasoning(self._item_id(), "")})

    def _start_summary(self) -> bytes:
        part = {"type": "summary_text", "text": ""}
        return self._event("response.reasoning_summary_part.added", {**self._summary(), "part": part})

    def _close(self, encrypted: str = "") -> bytes:
        """End the open item, if there is one; `encrypted` is the content of a reasoning item."""
        if not self._open:
            return b""
        text, out = "".join(self._text), b""
        if self._open == "message":
            out += self._event("response.output_text.done", {**self._part(), "text": text, "logprobs": []})
            out += self._event("response.content_part.done", {**self._part(), "part": _text_part(text)})
            item = _message(self._item_id(), [_text_part(text)])
        elif self._open == "refusal":
            text = text or REFUSED
            out += self._event("response.refusal.done", {**self._part(), "refusal": text})
            out += self._event("response.content_part.done", {**self._part(), "part": _refusal_part(text)})
            item = _message(self._item_id(), [_refusal_part(text)])
        else:
            if text:
                part = {"type": "summary_text", "text": text}
                out += self._event("response.reasoning_summary_text.done", {**self._summary(), "text": text})
                out += self._event("response.reasoning_summary_part.done", {**self._summary(), "part": part})
            item = _reasoning(self._item_id(), text, encrypted if self._items.encrypts else "")
        out += self._event("response.output_item.done", {"output_index": len(self._output), "item": item})
        if self._open == "reasoning" and (text or encrypted):
            self._items.add_reasoning(item["id"], text, encrypted)
        else:
            self._items.add(item)
        self._open = ""
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
        self._items.add(item)
        return out

    def _event(self, name: str, data: JSON) -> bytes:
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, "sequence_number": self._number, **data}))
