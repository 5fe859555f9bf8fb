"""Turns an answer into a script of bytes: what is sent, when, and how it ends. It adds the faults."""

from __future__ import annotations

import email.utils
import gzip
import time
from dataclasses import dataclass
from typing import Any, Literal

from agents.simulator import prose
from agents.simulator.behaviour import Behaviour
from agents.simulator.prompt import Count, Prompt
from agents.simulator.wires import dumps

Ending = Literal["keep", "close", "cut", "stall", "refuse"]
SLOW, DRIP = 0.1, 0.05
# Events before the first text: `die:5` counts pieces of text.
_LEAD = {"anthropic": 3, "openai": 1, "responses": 4, "gemini": 0}
_ID = "x-request-id: req_sim\r\nrequest-id: req_sim\r\n"
_STREAM_HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n{_ID}\r\n".encode()
_END = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Script:
    """`pieces` are written `pace` seconds apart, the first after `first` seconds; then follows `ending`."""

    pieces: list[bytes]
    ending: Ending = "keep"
    first: float = 0.0
    pace: float = 0.0
    status: int = 200


def answer(status: int, body: bytes, *, kind: str = "application/json", headers: str = "", **timing: Any) -> Script:
    """Return the script of one whole response."""
    head = f"HTTP/1.1 {status} Sim\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{_ID}{headers}\r\n".encode()
    return Script([head + body], status=status, **timing)


def frame(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def write(wire: Any, prompt: Prompt, body: dict[str, Any], *, streamed: bool, pace: float, key: str, redirect_to: str) -> Script:
    """Return the script of one model call."""
    behaviour = prompt.behaviour
    requested = behaviour.number("pace")
    pace = SLOW if "slow" in behaviour else pace if requested is None else requested / 1000
    first = behaviour.number("slow-first")
    if "refuse" in behaviour:
        return Script([], "refuse")
    if "hang" in behaviour:
        return Script([], "stall")
    if "redirect" in behaviour:
        return answer(307, b"", headers=f"location: {redirect_to}\r\nset-cookie: trap=1; path=/\r\n", first=first or 0.0)
    if behaviour.status is not None and behaviour.status != 200:
        return _refused(wire, behaviour, key, first or 0.0)
    if odd := _odd(behaviour):
        return odd
    answered = prose.answer(prompt)
    usages = counts(answered.usage, behaviour.options.get("usage"))
    if streamed:
        return _streamed(wire, behaviour, wire.stream(prompt, answered, usages, body), pace, first)
    # With a requested pace a whole answer takes as long as its stream, else only a moment.
    wait = pace * max(1, len(answered.pieces)) if requested is not None or "slow" in behaviour else pace * 8
    return _whole(wire, behaviour, dumps(wire.whole(prompt, answered, usages, body)), wait if first is None else first)


def embedded(wire: Any, behaviour: Behaviour, body: bytes, key: str) -> Script:
    """Return the script of one embedding call whose normal answer is `body`."""
    first = behaviour.number("slow-first") or 0.0
    if "refuse" in behaviour or "hang" in behaviour:
        return Script([], "refuse" if "refuse" in behaviour else "stall")
    if behaviour.status is not None and behaviour.status != 200:
        return _refused(wire, behaviour, key, first)
    return _odd(behaviour) or _whole(wire, behaviour, body, first)


def counts(usage: Count, variant: str | None) -> list[Count]:
    """Return the usage reports: none, the true one, a wrong one, or two of which the last is true."""
    match variant:
        case "missing":
            return []
        case "zero":
            return [Count(0, 0, 0, 0)]
        case "negative":
            return [Count(-usage.input, 0, -usage.output, 0)]
        case "absurd":
            return [Count(10**15, 0, 10**15, 0)]
        case "twice":
            return [Count(usage.input, usage.cached, max(1, usage.output // 2), 0), usage]
    return [usage]


def _refused(wire: Any, behaviour: Behaviour, key: str, first: float) -> Script:
    status = behaviour.status or 500
    wait = behaviour.options.get("retry-after", "1" if status == 429 and "quota" not in behaviour else "none")
    if wait == "date":
        wait = email.utils.formatdate(time.time() + 3, usegmt=True)
    headers = "" if wait == "none" else f"retry-after: {wait}\r\n"
    body = wire.error(status, behaviour, key if "leak" in behaviour else "")
    if "html" in behaviour:
        return answer(status, b"<html><body><h1>Bad gateway</h1></body></html>", kind="text/html", headers=headers, first=first)
    return answer(status, dumps(body), headers=headers, first=first)


def _odd(behaviour: Behaviour) -> Script | None:
    """Answers with status 200 that are no answers."""
    if "html" in behaviour:
        return answer(200, b"<html><body><h1>Welcome to the proxy</h1></body></html>", kind="text/html")
    if "empty" in behaviour:
        return answer(200, b"")
    if "gzip" in behaviour:
        bomb = gzip.compress(b'{"x":"' + b"a" * (behaviour.count("bytes") or 20_000_000) + b'"}')
        return answer(200, bomb, headers="content-encoding: gzip\r\n")
    return None


def _streamed(wire: Any, behaviour: Behaviour, events: list[bytes], pace: float, first: float | None) -> Script:
    name = wire.__name__.rpartition(".")[2]
    ending: Ending = "keep"
    if (pieces := behaviour.count("die")) is not None:
        events, ending = events[: _LEAD[name] + pieces], "cut"
    at = min(len(events), max(1, len(events) // 2) if (requested := behaviour.count("at")) is None else requested)
    line = b"event: content_block_delta\n" if name == "anthropic" else b""
    for flag, made in (
        ("badutf8", line + b'data: {"x":"\xff\xfe"}\n\n'),
        ("badjson", line + b"data: {not json\n\n"),
        ("huge", line + b'data: {"x":"' + b"a" * (behaviour.count("bytes") or 5_000_000 if "huge" in behaviour else 0) + b'"}\n\n'),
    ):
        if flag in behaviour:
            events = [*events[:at], made, *events[at:]]
    if behaviour.flags & {"eof", "half", "cut", "stall", "error", "malformed"}:
        events = events[:at]
    if "error" in behaviour:
        events = [*events, wire.error_event()]
    if "half" in behaviour and events:
        events[-1] = events[-1].rstrip()[:-9]
    if "comments" in behaviour:
        noise = b'event: ping\ndata: {"type":"ping"}\n\n' if name == "anthropic" else b": keep-alive\n\n"
        events = [one for event in events for one in (noise, event)]
    if "crlf" in behaviour:
        events = [event.replace(b"\n", b"\r\n") for event in events]
    framed = [frame(event) for event in events]
    if "cut" in behaviour or "stall" in behaviour:
        ending = "cut" if "cut" in behaviour else "stall"
    elif "malformed" in behaviour:
        framed, ending = [*framed, b"zzzz\r\nthis is no chunk\r\n"], "close"
    elif ending == "keep":
        # The end of the body is sent with its last piece.
        framed = [*framed[:-1], framed[-1] + _END] if framed else [_END]
    if "drip" in behaviour:
        framed, pace = [bytes([byte]) for piece in framed for byte in piece], DRIP if behaviour.number("pace") is None else pace
    framed = [_STREAM_HEAD, *framed] if first is not None or not framed else [_STREAM_HEAD + framed[0], *framed[1:]]
    if pace == 0 and first is None:
        framed = [b"".join(framed)]
    elif first is not None:
        # Sends the head at once and delays the first event.
        return Script([framed[0], *framed[1:]] if pace else [framed[0], b"".join(framed[1:])], ending, 0.0, max(pace, first))
    if behaviour.number("pace") is not None:
        # An exact pace is between pieces, so the first one is sent at once with the opening events.
        return Script([b"".join(framed[:2]), *framed[2:]], ending, 0.0, pace)
    return Script(framed, ending, min(pace * 6, 0.3), pace)


def _whole(wire: Any, behaviour: Behaviour, body: bytes, first: float) -> Script:
    if "error" in behaviour:
        body = wire.error_event().partition(b"data: ")[2].strip()
    elif "badutf8" in behaviour:
        body = body[:-1] + b',"x":"\xff\xfe"}'
    elif "badjson" in behaviour or "eof" in behaviour or "half" in behaviour:
        body = body[: len(body) // 2]
    elif "huge" in behaviour:
        body = body[:-1] + b',"x":"' + b"a" * (behaviour.count("bytes") or 5_000_000) + b'"}'
    script = answer(200, body, first=first)
    if behaviour.flags & {"cut", "stall", "malformed"} or "die" in behaviour.options:
        ending: Ending = "stall" if "stall" in behaviour else "cut"
        return Script([script.pieces[0][: -len(body) // 2]], ending, first)
    if "drip" in behaviour:
        return Script([bytes([byte]) for byte in script.pieces[0]], "keep", first, DRIP)
    return script
