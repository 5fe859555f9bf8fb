"""Passes a vendor's answer on as it came, for requests in the vendor's own dialect; reads usage, size and end beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agents.events import Completed, Event, FinishReason, NativeAnswer, ReasoningDelta, TextDelta, ToolCall, UsageReport
from agents.messages import NativeBody, byte_size
from agents.providers.answer import Answer, dumped, parsed
from agents.providers.base import Target
from agents.providers.errors import ProviderError
from agents.providers.transport import payload_of
from billing.pricing import Usage

# A key of the answer: inside of a JSON string its quotes would be escaped. The vendor may add a date to the name.
_MODEL = r'("%s"\s*:\s*)"%s[^"\\]*"'


def without_tools(native: NativeBody, names: tuple[str, ...]) -> NativeBody:
    """Return the body without the tools of these kinds (`web_search` is also `web_search_preview`), at the top and inside of items."""
    body = _without(native.body, names)
    if "tools" in native.body and not body.get("tools"):
        body = {name: value for name, value in body.items() if name not in ("tools", "tool_choice")}
    if isinstance(body.get("input"), list):  # Responses: tools that are added in the middle
        body = {**body, "input": [_without(item, names) if isinstance(item, Mapping) else item for item in body["input"]]}
    return replace(native, body=body)


def _without(holder: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    tools = holder.get("tools")
    if not isinstance(tools, list):
        return holder
    kept = [_without(tool, names) for tool in tools if isinstance(tool, Mapping) and not str(tool.get("type")).startswith(names)]
    return {**holder, "tools": kept}


class NativeReader:
    """Has the interface of the parser `answer` and passes the vendor's bytes on, with our name of the model.

    Nothing is passed on before the model's first output, so that another candidate may still answer.
    """

    def __init__(self, answer: Answer, target: Target) -> None:
        self._answer, self._model = answer, target.name
        self._field = answer.model_field
        self._quoted = f'"{self._field}"'.encode()
        name = re.escape(target.model.removesuffix("-latest"))
        self._key = re.compile((_MODEL % (self._field, name)).encode())
        answer.accepts_unknown_reasons = True
        self._name = rb'\1"' + target.name.encode().replace(b"\\", b"\\\\") + b'"'
        self._held: list[bytes] = []
        self._begun = False

    @property
    def finish(self) -> FinishReason | None:
        return self._answer.finish

    @property
    def closed(self) -> bool:
        return self._answer.closed

    @property
    def error(self) -> ProviderError | None:
        return self._answer.error

    @property
    def usage(self) -> Usage | None:
        return self._answer.usage

    def feed(self, events: list[bytes]) -> list[Event]:
        """Return the events as they arrived, in one piece, after their usage. An event that reports an error is not passed on."""
        out: list[Event] = []
        written = 0
        for event in events:
            size, plain = self.text_event(event)
            if size:  # nearly all events are this one
                self._begun = True
                written += size
                self._held.append(plain)
                continue
            found = self._answer.feed([payload]) if (payload := payload_of(event)) else []
            written += self._count(found, out) + self.size_of_fragment(event)
            if self._answer.error is not None:
                break
            if (shown := self.shown(event)) is not None:
                self._held.append(shown)
        return out + self._passed(written)

    def text_event(self, event: bytes) -> tuple[int, bytes]:
        """Return size and bytes of an event that holds nothing but text, and count it as read; the size is 0 for any other event."""
        return self._answer.bytes_of_text(event), event

    def shown(self, event: bytes) -> bytes | None:
        """Return any other event as its client gets it; None for one that the client did not ask for."""
        return self.renamed_event(event)

    def renamed_event(self, event: bytes) -> bytes:
        """Return the event with our name of the model."""
        return self._key.sub(self._name, event, count=1) if self._quoted in event else event

    def output_begins(self) -> None:
        """Let events pass from here on: the model has written something."""
        self._begun = True

    def feed_whole(self, body: bytes) -> list[Event]:
        out: list[Event] = []
        written = self._count(self._answer.feed_whole(body), out)
        last = [event for event in out if isinstance(event, Completed)]
        return [*(event for event in out if event not in last), NativeAnswer(self._renamed(body), written), *last]

    def end(self) -> list[Event]:
        """Return what is left, Completed last. Raises ProviderTruncated if no finish reason arrived."""
        out: list[Event] = []
        written = self._count(self._answer.end(), out)
        self._begun = True
        return [*self._passed(written), *out]

    def _renamed(self, body: bytes) -> bytes:
        found = self._key.search(body)
        if found is None or body.count(b"{", 0, found.start()) == 1:
            return self._key.sub(self._name, body, count=1)
        answer = parsed(body)  # an object that stands before it may have the same key
        return dumped(answer | {self._field: self._model} if self._field in answer else answer).encode()

    def _count(self, found: Iterable[Event], out: list[Event]) -> int:
        """Return the bytes of the model's output; what accounting needs goes to `out`."""
        written = 0
        for event in found:
            match event:
                case TextDelta() | ReasoningDelta():
                    written += byte_size(event.text)
                case ToolCall():
                    written += self.size_of_call(event)
                case UsageReport() | Completed():
                    out.append(event)
                    continue
            self._begun = True
        return written

    def size_of_call(self, call: ToolCall) -> int:
        return byte_size(call.name) + byte_size(call.arguments)

    def size_of_fragment(self, event: bytes) -> int:
        """Return the size of a part of a tool call's arguments, where the parser returns only whole calls."""
        return 0

    def _passed(self, written: int) -> list[Event]:
        if not self._begun or not self._held:
            return []
        self._held.append(b"")
        data, self._held = b"\n\n".join(self._held), []
        return [NativeAnswer(data, written)]
