"""What one vendor answer has said so far, turned into our events. The adapters' parsers write here."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from math import inf
from typing import Any

import orjson

from agents.events import Completed, Event, FinishReason, ReasoningDelta, TextDelta, ToolCall, UsageReport
from agents.providers.errors import ProviderBadResponse, ProviderError, ProviderTruncated
from aiagents.core.jsonio import clean_text
from billing.usage import Usage

# No model writes this much in one answer; a vendor gone mad may.
MAX_OUTPUT_CHARACTERS = 8 * 1024 * 1024
MAX_TOOL_CALLS = 256
NOT_THE_WIRE = (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError)


class Answer(ABC):
    """A parser's state. `finish` is set at the vendor's terminal mark, `closed` when nothing more can follow it."""

    def __init__(self) -> None:
        self.finish: FinishReason | None = None
        self.closed = False
        self.error: ProviderError | None = None
        self.usage: Usage | None = None
        self.calls = 0
        self._reported = True
        # False once something was written after the last report: then that report does not count it.
        self._fresh = False
        self._size = 0
        self._kind: type[TextDelta] | type[ReasoningDelta] = TextDelta
        self._parts: list[str] = []
        self._out: list[Event] = []

    @abstractmethod
    def take(self, event: Any) -> None:
        """One event of the vendor's stream, parsed from JSON. May raise what reading foreign JSON raises."""

    @abstractmethod
    def take_whole(self, answer: Any) -> None:
        """The vendor's one JSON answer."""

    def feed(self, payloads: list[bytes]) -> list[Event]:
        """Our events out of those that came together; neighbouring pieces of text are one.

        What was said before an error is given out first: the error waits in `error`.
        """
        try:
            for payload in payloads:
                if payload == b"[DONE]":
                    self.closed = True
                    continue
                self.take(parsed(payload))
            return self.drain()
        except ProviderError as exc:
            self.error = exc
        except NOT_THE_WIRE:
            self.error = ProviderBadResponse("The model's vendor sent an event that cannot be read.")
        return self.drain_what_fits()

    def feed_whole(self, body: bytes) -> list[Event]:
        try:
            self.take_whole(parsed(body))
        except NOT_THE_WIRE as exc:
            raise unreadable("The model's vendor sent an answer that cannot be read.", body) from exc
        try:
            return [*self.drain(), *self.end()]
        except ProviderError as exc:
            exc.answered = True
            raise

    def end(self) -> list[Event]:
        """The last events, once the vendor has ended; `ProviderTruncated` when its terminal mark never came."""
        if self.finish is None:
            raise ProviderTruncated
        reason = "tool_calls" if self.calls and self.finish == "stop" else self.finish
        last = self.drain()
        whole = self.usage is not None and self._fresh and not self.usage.missing
        return [*last, Completed(reason, self.usage if whole else None)]

    def drain(self) -> list[Event]:
        self._flush()
        out, self._out = self._out, []
        if not self._reported and self.usage is not None:
            self._reported = True
            out.append(UsageReport(self.usage))
        return out

    def drain_what_fits(self) -> list[Event]:
        try:
            return self.drain()
        except ProviderError:  # the text itself is the error: too much of it
            return []

    def text(self, piece: str) -> None:
        if self._kind is not TextDelta:
            self._flush()
            self._kind = TextDelta
        self._fresh = False
        self._parts.append(piece)

    def reasoning(self, piece: str, signature: str = "") -> None:
        """Thinking; a signature closes the block that it signs."""
        if self._kind is not ReasoningDelta:
            self._flush()
            self._kind = ReasoningDelta
        self._fresh = False
        self._parts.append(piece)
        if signature:
            self._flush()
            self._out.append(ReasoningDelta("", clean_text(signature)))

    def call(self, call_id: str, name: str, arguments: str, signature: str = "") -> None:
        self._flush()
        self._fresh = False
        self.calls += 1
        self.grow(len(arguments))
        self._out.append(ToolCall(clean_text(call_id), clean_text(name), clean_text(arguments), clean_text(signature)))

    def report(self, usage: Usage | None) -> None:
        """The vendor's count so far. None: this event reports nothing that can be read, so an earlier count is not the last one."""
        if usage is None:
            self._fresh = False
            return
        self._fresh = True
        if usage != self.usage:
            self.usage = usage
            self._reported = False

    def grow(self, characters: int) -> None:
        """Memory is bounded whatever the vendor sends."""
        self._size += characters
        if self._size > MAX_OUTPUT_CHARACTERS or self.calls > MAX_TOOL_CALLS:
            raise ProviderBadResponse("The model's vendor sent far more than was asked for.")

    def _flush(self) -> None:
        if self._parts:
            joined = clean_text("".join(self._parts))
            self._parts.clear()
            if joined:
                self.grow(len(joined))
                self._out.append(self._kind(joined))


def parsed(payload: bytes) -> Any:
    """The JSON of an event or of a whole answer; ValueError for what is none.

    Half a surrogate pair is legal JSON, though orjson refuses it; the texts are cleaned later.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return json.loads(payload)


def dumped(value: Any) -> str:
    """JSON text of what was parsed, half surrogate pairs replaced."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return clean_text(json.dumps(value, ensure_ascii=False))


def unreadable(message: str, body: bytes) -> ProviderBadResponse:
    """The error for a body that is not the wire. What begins as an answer was written by a model; a proxy's page was not."""
    error = ProviderBadResponse(message)
    if body.lstrip()[:1] == b"{":
        error.answered, error.details["received_bytes"] = True, len(body)
    return error


_NUMBER = re.compile(r"\s*([0-9]{1,40})(?:\.0{1,10})?\s*", re.ASCII)
_MOST = 2**62


def whole_number(value: Any) -> int | None:
    """A token count as vendors send it, a number or a number in a string; None for anything that is no count.

    None is not 0: it means that nothing was reported, so an estimate is charged. What no column holds is clamped; the ledger flags it.
    """
    if isinstance(value, str) and (found := _NUMBER.fullmatch(value)):
        value = int(found[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        return None
    return int(min(value, _MOST))


def counted(input_tokens: int | None, output_tokens: int | None, **parts: int | None) -> Usage | None:
    """The usage of these counts, None for one that was not reported; None where the vendor reported neither input nor output.

    A part (cached input, reasoning) that cannot be read makes its whole unreadable: it may be charged at another rate.
    """
    missing = {name for name, value in (("input_tokens", input_tokens), ("output_tokens", output_tokens)) if value is None}
    for name, value in parts.items():
        if value is None:
            missing.add("output_tokens" if name == "reasoning_tokens" else "input_tokens")
    if len(missing) == 2:
        return None
    known = {name: value for name, value in parts.items() if value is not None}
    return Usage(input_tokens=input_tokens or 0, output_tokens=output_tokens or 0, missing=frozenset(missing), **known)


def part_of(counts: Any, name: str) -> int | None:
    """A part of a count that vendors leave out or send as null where it is nothing: 0 then; None for what is no number."""
    if counts is None:
        return 0
    if not isinstance(counts, dict):
        return None
    value = counts.get(name)
    return 0 if value is None else whole_number(value)
