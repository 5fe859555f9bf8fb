"""The base of the adapters' parsers: it collects one vendor answer and turns it into our events."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import inf
from typing import Any

import orjson

from agents.events import Completed, Event, FinishReason, ReasoningDelta, TextDelta, ToolCall, UsageReport
from agents.providers.errors import ProviderBadResponse, ProviderError, ProviderTruncated, ended_with
from aiagents.core.jsonio import clean_text
from billing.pricing import Usage

# Far above the longest answer of any model: a limit for vendors that fail.
MAX_OUTPUT_CHARACTERS = 8 * 1024 * 1024
MAX_TOOL_CALLS = 256
PARSE_ERRORS = (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError)


class Answer(ABC):
    """State of a parser. `finish` is set by the vendor's finish reason, `closed` when no further event can follow."""

    # Whether the vendor's streams end with a mark of their own after the finish reason.
    closing_mark = True
    # The field of the answer that names the model.
    model_field = "model"

    def __init__(self) -> None:
        self.finish: FinishReason | None = None
        self.closed = False
        # True where the client gets the vendor's own words: a new finish reason is the client's to read.
        self.accepts_unknown_reasons = False
        # The caller's stop sequences, and the one that ended the answer.
        self.stops: tuple[str, ...] = ()
        self.stop_sequence = ""
        # The caller's names of tools by those that the vendor was sent in their place.
        self.names: Mapping[str, str] = {}
        self.refused = False
        self._unknown_reason: str | None = None
        self._has_text = False
        self.error: ProviderError | None = None
        self.usage: Usage | None = None
        self.calls = 0
        self._reported = True
        # False once output arrived after the last usage report, which then does not count that output.
        self._fresh = False
        self._size = 0
        self._kind: type[TextDelta] | type[ReasoningDelta] = TextDelta
        self._parts: list[str] = []
        self._out: list[Event] = []

    @abstractmethod
    def take(self, event: Any) -> None:
        """Read one event of the vendor's stream, parsed from JSON. May raise any of PARSE_ERRORS."""

    @abstractmethod
    def take_whole(self, answer: Any) -> None:
        """Read the vendor's one JSON answer. May raise any of PARSE_ERRORS."""

    def feed(self, payloads: list[bytes]) -> list[Event]:
        """Return our events of the payloads that arrived together. Adjacent pieces of text are joined.

        Text before an error is returned first; the error is kept in `error`.
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
        except PARSE_ERRORS:
            self.error = ProviderBadResponse("The model's vendor sent an event that cannot be read.")
        return self.drain_what_fits()

    def bytes_of_text(self, event: bytes) -> int:
        """Return the size of a streamed event that holds nothing but text, in bytes, and count it as read; 0 for any other event."""
        return 0

    def count_text(self, size: int) -> None:
        """Count text that was passed on unread, in bytes."""
        self._fresh, self._has_text = False, True
        self.grow(size)

    def feed_whole(self, body: bytes) -> list[Event]:
        """Return our events of the one JSON answer. Raises a ProviderError; `usage` then holds what was reported."""
        self.closed = True
        taken = False
        try:
            self.take_whole(parsed(body))
            taken = True
            return [*self.drain(), *self.end()]
        except PARSE_ERRORS as exc:
            raise unreadable("The model's vendor sent an answer that cannot be read.", body) from exc
        except ProviderError as exc:
            if taken or self._has_output:  # the vendor wrote, and may charge for it
                exc.answered = True
                if self.usage is None:
                    exc.details.setdefault("received_bytes", len(body))
            raise

    def stop(self, reason: Any, reasons: Mapping[str, FinishReason], words: str = "") -> None:
        """Take the vendor's finish reason. Raises ProviderBadResponse if it is a failure (`error` in `reasons`).

        An unknown reason counts as `stop` only if the answer is complete otherwise, which `end` decides.
        """
        if not isinstance(reason, str):
            raise TypeError("a finish reason is a text")
        found = reasons.get(reason, "stop" if self.accepts_unknown_reasons else None)
        if found == "error":
            raise ended_with(reason, words)
        self.finish, self._unknown_reason = found, reason if found is None else None

    def last(self) -> list[Event]:
        """Return the events that waited for the end of the body. May raise any of PARSE_ERRORS."""
        return self.drain()

    def end(self) -> list[Event]:
        """Return the last events after the end of the body.

        Raises ProviderTruncated if no finish reason arrived, and ProviderBadResponse if it is unknown and the answer incomplete.
        """
        try:
            last = self.last()
        except PARSE_ERRORS as exc:
            raise ProviderBadResponse("The model's vendor sent an answer that cannot be read.") from exc
        counted_all = self.usage is not None and self._fresh and not self.usage.missing
        if self.finish is None and self._unknown_reason is not None:
            ended = self.closed or not self.closing_mark
            if not (ended and counted_all and (self._has_text or self.calls)):
                raise ended_with(self._unknown_reason)
            self.finish = "stop"
        if self.finish is None:
            raise ProviderTruncated
        reason = self.finish
        if reason == "stop" and (self.refused or self.calls):
            reason = "content_filter" if self.refused else "tool_calls"
        return [*last, Completed(reason, self.usage if counted_all else None, self.stop_sequence)]

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
        except ProviderError:  # the text itself is the error: it is too long
            return []

    def text(self, piece: str) -> None:
        if type(piece) is not str:
            raise TypeError("text is a string")
        if self._kind is not TextDelta:
            self._flush()
            self._kind = TextDelta
        self._fresh = False
        self._parts.append(piece)

    def refuse(self, piece: str) -> None:
        """Add what the model says about its refusal; empty if the vendor gives no words."""
        if type(piece) is not str:
            raise TypeError("a refusal is a string")
        self._flush()
        self._fresh = self._fresh and not piece
        self.refused = True
        self.grow(len(piece))
        self._out.append(TextDelta(clean_text(piece), refusal=True))

    def reasoning(self, piece: str, signature: str = "") -> None:
        """Add thinking. A signature closes the block that it signs."""
        if type(piece) is not str:
            raise TypeError("reasoning is a string")
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
        name = clean_text(self.names.get(name, name))
        self._out.append(ToolCall(clean_text(call_id), name, clean_text(arguments), clean_text(signature)))

    def report(self, usage: Usage | None) -> None:
        """Keep the vendor's usage so far. None: the event has no readable usage, so an earlier one is not final."""
        if usage is None:
            self._fresh = False
            return
        self._fresh = True
        if usage != self.usage:
            self._reported = False
        self.usage = usage

    @property
    def _has_output(self) -> bool:
        return bool(self._size or self.calls or any(self._parts))

    def grow(self, characters: int) -> None:
        """Count the output. Raises ProviderBadResponse above the limits, which bound our memory."""
        self._size += characters
        if self._size > MAX_OUTPUT_CHARACTERS or self.calls > MAX_TOOL_CALLS:
            raise ProviderBadResponse("The model's vendor sent far more than was requested.")

    def _flush(self) -> None:
        if self._parts:
            joined = clean_text("".join(self._parts))
            self._parts.clear()
            if joined:
                self._has_text = self._has_text or self._kind is TextDelta
                self.grow(len(joined))
                self._out.append(self._kind(joined))


def parsed(payload: bytes) -> Any:
    """Parse the JSON of an event or of a whole answer. Raises ValueError if it is not JSON.

    Half a surrogate pair is legal JSON, but orjson refuses it; `clean_text` replaces it later.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return json.loads(payload)


def dumped(value: Any) -> str:
    """Return a parsed value as JSON text, with half surrogate pairs replaced."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return clean_text(json.dumps(value, ensure_ascii=False))


def unreadable(message: str, body: bytes) -> ProviderBadResponse:
    """Return the error for a body that does not follow the vendor's protocol.

    A body that begins like JSON was written by a model and may be charged for (`answered`); a proxy's HTML page was not.
    """
    error = ProviderBadResponse(message)
    if body.lstrip()[:1] == b"{":
        error.answered, error.details["received_bytes"] = True, len(body)
    return error


_NUMBER = re.compile(r"\s*([0-9]{1,40})(?:\.0{1,10})?\s*", re.ASCII)
_MOST = 2**62


def whole_number(value: Any) -> int | None:
    """Return a vendor's token count, a number or a number in a string; None for any other value.

    None is not 0: it means that the vendor reported no count, so the estimate is charged.
    A count above the database's range is clamped, and the ledger flags it.
    """
    if isinstance(value, str) and (found := _NUMBER.fullmatch(value)):
        value = int(found[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        return None
    return int(min(value, _MOST))


def counted(input_tokens: int | None, output_tokens: int | None, **parts: int | None) -> Usage | None:
    """Return the usage of these counts, or None if neither input nor output was reported (a count of None).

    An unreadable part (cached input, reasoning) makes its total unreadable, because parts may have another rate.
    """
    missing = {name for name, value in (("input_tokens", input_tokens), ("output_tokens", output_tokens)) if value is None}
    for name, value in parts.items():
        if value is None:
            missing.add("output_tokens" if name == "reasoning_tokens" else "input_tokens")
    if len(missing) == 2:
        return None
    known: dict[str, Any] = {name: value for name, value in parts.items() if value is not None}
    return Usage(input_tokens=input_tokens or 0, output_tokens=output_tokens or 0, missing=frozenset(missing), **known)


def part_of(counts: Any, name: str) -> int | None:
    """Return a part of a count: 0 if it is absent or null, None if it is not a number."""
    if counts is None:
        return 0
    if not isinstance(counts, dict):
        return None
    value = counts.get(name)
    return 0 if value is None else whole_number(value)
