"""Directives for the answer of one request: its faults, pace and shape.

A directive is a comma-separated list such as `429,retry-after=date` or `slow,die:5`. It is sent in the header `x-sim`, in
the last user text as `[[sim:…]]` (`[[sim@model:…]]` for one model only), or by `Simulator.plan`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Names without a value.
FLAGS = {
    "ok": "a normal answer",
    "tool": "call the first offered tool",
    "think": "show reasoning before the answer",
    "refuse": "close the connection before any answer",
    "hang": "accept the request and never answer",
    "slow": "0.1 s between two pieces",
    "drip": "one byte at a time",
    "stall": "half of the answer, then silence",
    "eof": "end cleanly without a finish reason",
    "half": "like eof, and the last event is incomplete",
    "cut": "drop the connection in mid answer",
    "error": "an error event inside a 200",
    "malformed": "bytes that are not HTTP's chunked framing",
    "badutf8": "an event that is not UTF-8",
    "badjson": "an event that is not JSON",
    "html": "a proxy's HTML page with status 200",
    "empty": "status 200 and no body",
    "huge": "one event of several megabytes",
    "gzip": "a compressed body that was not requested",
    "redirect": "307 to another host",
    "overrun": "ignore the limit on output tokens; with size, in pieces of so many bytes",
    "future": "fields, events and blocks that do not exist yet",
    "filter": "stopped by the vendor's content filter",
    "blank": "a complete answer without a single token",
    "quota": "with a status: the account is out of credit",
    "context": "with 400: the prompt is too long",
    "badkey": "with 400: Gemini's way of refusing a key",
    "leak": "with a status: the vendor repeats our key in its error",
    "comments": "keep-alive comments or pings between events",
    "crlf": "lines end with CR LF",
    "sleepless": "no finish reason, but otherwise whole",
}
# Names with a value.
OPTIONS = {
    "retry-after": "1, none, date, -1, 1e9: with an error status",
    "slow-first": "seconds before the first byte",
    "chunks": "exactly so many pieces of text",
    "pace": "milliseconds between two pieces",
    "size": "bytes of each piece, with chunks",
    "at": "the event at which eof, half, cut, stall, error… strike; default the middle",
    "die": "drop the connection after so many pieces of text",
    "tools": "so many tool calls in one answer",
    "usage": "missing, zero, negative, absurd, twice",
    "bytes": "size of huge",
}
USAGE = ("missing", "zero", "negative", "absurd", "twice")
_IN_TEXT = re.compile(r"\[\[sim(?:@(?P<model>[^\[\]:]+))?:(?P<text>[^\[\]]*)\]\]")


class UnknownDirective(ValueError):
    """An unknown directive. It is an error, so that a test with a typo fails."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    status: int | None = None
    flags: frozenset[str] = frozenset()
    options: dict[str, str] = field(default_factory=dict)

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags

    def number(self, name: str) -> float | None:
        value = self.options.get(name)
        return None if value is None else float(value)

    def count(self, name: str) -> int | None:
        value = self.options.get(name)
        return None if value is None else int(float(value))


NORMAL = Behaviour()


def parse(text: str) -> Behaviour:
    """Return the behaviour of a directive. Raises UnknownDirective with the unknown item."""
    status, flags, options = None, set(), {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, sign, value = item.replace(":", "=", 1).partition("=")
        if not sign and name.isdigit():
            status = int(name)
        elif not sign and name in FLAGS:
            flags.add(name)
        elif sign and name in OPTIONS and (name != "usage" or value in USAGE):
            options[name] = value
        else:
            raise UnknownDirective(f"the simulator does not know {item!r}")
    return Behaviour(status, frozenset(flags), options)


def in_text(text: str, model: str) -> tuple[str, str]:
    """Return the joined directives for `model` in a user's text, and the text without them."""
    if "[[sim" not in text:
        return "", text
    found = [match["text"] for match in _IN_TEXT.finditer(text) if match["model"] in (None, model)]
    return ",".join(found), _IN_TEXT.sub("", text).strip()
