"""Parser of OpenAI's answers: chunks, the whole completion, errors inside a 200, usage and embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from agents.events import FinishReason
from agents.providers import vectors
from agents.providers.answer import MAX_TOOL_CALLS, Answer, counted, part_of, whole_number
from agents.providers.errors import ProviderBadResponse, ProviderError, error_from_status
from billing.pricing import Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls", "content_filter": "content_filter",
    "error": "error",
}  # fmt: skip


@dataclass(slots=True)
class _Slot:
    """A tool call that arrives in fragments."""

    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ChatAnswer(Answer):
    """Parses the chunks of a streamed chat completion, or the whole one."""

    def __init__(self, requires_finish_reason: bool) -> None:
        super().__init__()
        self._strict = requires_finish_reason
        self._slots: dict[int, _Slot] = {}
        self._refused = self._has_output = False

    def take(self, event: Any) -> None:
        choices = event.get("choices")
        if choices:
            choice = choices[0]
            delta = choice.get("delta")
            if delta:
                content = delta.get("content")
                if content:
                    self._has_output = True
                    self.text(content)
                if len(delta) > 1 or not content:
                    self._take_rare(delta)
            if (finish := choice.get("finish_reason")) is not None:
                self._finish_answer(finish)
        if (usage := event.get("usage")) is not None:
            self.report(usage_of(usage))
        elif choices is None and (error := event.get("error")) is not None:
            raise stream_error(error)

    def _take_rare(self, delta: dict[str, Any]) -> None:
        """Read what is rarer than text: reasoning, refusals and tool calls."""
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self._has_output = True
            self.reasoning(thought)
        if refusal := delta.get("refusal"):
            self._refused = True
            self.text(refusal)
        for position, call in enumerate(delta.get("tool_calls") or ()):
            index = call.get("index")
            slot = self._slots.setdefault(position if index is None else index, _Slot())
            function = call.get("function") or {}
            slot.call_id = call.get("id") or slot.call_id
            slot.name = function.get("name") or slot.name
            self._fresh = False
            if arguments := function.get("arguments"):
                slot.arguments.append(arguments)
                self.grow(len(arguments) + 64)  # many tiny fragments fill memory, too
            if len(self._slots) > MAX_TOOL_CALLS:
                raise ProviderBadResponse("The model's vendor sent too many tool calls.")

    def _finish_answer(self, finish: str) -> None:
        fresh = self._fresh  # the calls arrived before; only now they are known to be complete
        for index in sorted(self._slots):
            slot = self._slots[index]
            self.call(slot.call_id or f"call_{uuid4().hex[:12]}", slot.name, "".join(slot.arguments) or "{}")
        self._slots.clear()
        self._fresh = fresh
        self.finish = "content_filter" if self._refused and finish == "stop" else _FINISH.get(finish, "stop")

    def end(self) -> list[Any]:
        if self.finish is None and not self._strict and (self.closed or self._has_output or self._slots):
            self._finish_answer("stop")
        return super().end()

    def take_whole(self, answer: Any) -> None:
        if not answer.get("choices") and answer.get("error"):
            raise stream_error(answer["error"])
        choice = answer["choices"][0]
        message = dict(choice["message"])
        for index, call in enumerate(message.get("tool_calls") or ()):
            call["index"] = index
        if content := message.pop("content", None):
            self._take_rare({"reasoning_content": message.pop("reasoning_content", None) or message.pop("reasoning", None)})
            self.text(content)
        self._has_output = True
        self._take_rare(message)
        self.report(usage_of(answer.get("usage")))
        if (finish := choice.get("finish_reason")) is not None:
            self._finish_answer(finish)


def stream_error(error: Any) -> ProviderError:
    """Return our error for an error object inside a body with status 200."""
    fields = error if isinstance(error, dict) else {"message": str(error)}
    code = fields.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 200  # OpenRouter puts the status there
    return error_from_status(
        status, vendor="", vendor_type=str(fields.get("type") or ""), vendor_code=str(code or ""), message=str(fields.get("message") or "")
    )


def usage_of(usage: Any) -> Usage | None:
    """Return the usage, or None if neither input nor output was reported. Totals include their parts, as ours do."""
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return counted(
        whole_number(usage.get("prompt_tokens")),
        whole_number(usage.get("completion_tokens")),
        cached_input_tokens=part_of(read, "cached_tokens"),
        cache_write_tokens=part_of(read, "cache_write_tokens"),
        reasoning_tokens=part_of(written, "reasoning_tokens"),
    )


def read_embeddings(body: bytes) -> tuple[list[bytes], Usage | None]:
    """Return the vectors, base64 or numbers, in the order of their inputs, and the usage if it was reported."""
    data = orjson.loads(body)
    rows = sorted(data["data"], key=lambda one: one["index"])
    if [one["index"] for one in rows] != list(range(len(rows))):
        raise ValueError("the indexes do not match the inputs")
    usage = data.get("usage")
    tokens = whole_number(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    return [vectors.read(one["embedding"]) for one in rows], None if tokens is None else Usage(input_tokens=tokens)
