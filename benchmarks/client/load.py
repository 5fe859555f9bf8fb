"""A cheap load generator: raw HTTP/1.1 and WebSocket over uvloop, which parses only what it times.

It runs in the benchmark's own process, and every table shows its processor time: above about 60 % of a core the generator
itself would limit the result. It uses loopback only, and bounds count and time.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from benchmarks.client.connections import Connection, Lost, Socket


@dataclass(frozen=True)
class Wire:
    """The request for `path`, and the bytes of its first token and its proper end in the response."""

    path: str
    body: Callable[[str, str, bool], dict]
    first: re.Pattern[bytes]
    end: re.Pattern[bytes]


def _completion(model: str, prompt: str, stream: bool) -> dict:
    body: dict = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 400}
    return body | {"stream": True, "stream_options": {"include_usage": True}} if stream else body


def _turn(model: str, prompt: str, stream: bool) -> dict:
    return {"content": prompt, "model": model, "max_output_tokens": 400}


COMPLETIONS = Wire("/v1/chat/completions", _completion, re.compile(rb'"content": ?"[^"]'), re.compile(rb"\[DONE\]"))
CHAT_STREAM = Wire("/api/v1/chat/stream", _turn, re.compile(rb"event: content\.delta"), re.compile(rb"event: message\.end"))
CHAT_SEND = Wire("/api/v1/chat/send", _turn, re.compile(rb"$^"), re.compile(rb"$^"))
CHAT_SOCKET = Wire("/api/v1/chat/ws", _turn, re.compile(rb'"type":"content\.delta"'), re.compile(rb'"type":"message\.end"'))


@dataclass(frozen=True)
class Target:
    """A server under load: a port of 127.0.0.1, the callers' keys (used in turn), and a model."""

    name: str
    port: int
    keys: tuple[str, ...]
    model: str
    wire: Wire = COMPLETIONS

    def request(self, prompt: str, stream: bool, number: int = 0, more: dict | None = None) -> bytes:
        raw = json.dumps(self.wire.body(self.model, prompt, stream) | (more or {})).encode()
        return self.head("POST", self.wire.path, number, len(raw)) + raw

    def head(self, method: str, path: str, number: int = 0, length: int = 0) -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key(number)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def key(self, number: int) -> str:
        return self.keys[number % len(self.keys)]


@dataclass
class Result:
    """Times in seconds: `latencies` of whole requests, `firsts` to the first token; `errors` counts failures by their kind."""

    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def error(self, what: str) -> None:
        self.errors[what] = self.errors.get(what, 0) + 1

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def summary(self) -> dict[str, float | int | dict[str, int]]:
        return {
            "count": len(self.latencies),
            "rate": self.rate,
            "p50_ms": percentile(self.latencies, 50) * 1000,
            "p95_ms": percentile(self.latencies, 95) * 1000,
            "ttft_p50_ms": percentile(self.firsts, 50) * 1000,
            "ttft_p95_ms": percentile(self.firsts, 95) * 1000,
            "errors": self.errors,
        }


def percentile(values: list[float], part: int) -> float:
    if not values:
        return float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[part - 1] if len(values) > 1 else values[0]


async def _timed(result: Result, work: Awaitable[tuple[int, float | None, bool]], streamed: bool) -> None:
    """One request into `result`; a stream counts only with a first token and its proper end."""
    began = time.perf_counter()
    try:
        status, first, ended = await work
    except (OSError, Lost, TimeoutError) as exc:
        result.error(type(exc).__name__)
        return
    if status != 200 or (streamed and (first is None or not ended)):
        result.error(f"{status} first={first is not None} ended={ended}" if streamed else str(status))
        return
    if streamed and first is not None:
        result.firsts.append(first - began)
    result.latencies.append(time.perf_counter() - began)


async def closed_loop(target: Target, concurrency: int, seconds: float, prompt: str, count: int | None = None) -> Result:
    """`concurrency` connections, each sending its next request when the last was answered; for a time, or `count` requests."""
    result, stop = Result(), time.perf_counter() + seconds
    left = iter(range(count if count is not None else 10**9))

    async def worker(number: int) -> None:
        line, raw = Connection(target.port), target.request(prompt, False, number)
        while time.perf_counter() < stop and next(left, None) is not None:
            await _timed(result, line.ask(raw, target.wire), False)
        line.close()

    began = time.perf_counter()
    await asyncio.gather(*(worker(number) for number in range(concurrency)))
    result.seconds = time.perf_counter() - began
    return result


async def each(target: Target, bodies: list[dict], prompt: str, at_once: int = 1) -> Result:
    """Send one request for each of `bodies`, merged into the default body, with the target's keys in turn."""
    result, left = Result(), iter(enumerate(bodies))

    async def worker() -> None:
        line = Connection(target.port)
        for number, more in left:
            await _timed(result, line.ask(target.request(prompt, False, number, more), target.wire), False)
        line.close()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    result.seconds = time.perf_counter() - began
    return result


async def gets(target: Target, path: str, key: str, count: int) -> Result:
    """Send `count` GET requests, one after another."""
    result, line = Result(), Connection(target.port)
    raw = replace(target, keys=(key,)).head("GET", path)
    began = time.perf_counter()
    for _ in range(count):
        await _timed(result, line.ask(raw, target.wire), False)
    result.seconds = time.perf_counter() - began
    line.close()
    return result


async def fixed_rate(target: Target, rate: float, seconds: float, prompt: str) -> Result:
    """`rate` requests per second, independent of the responses (open loop); idle connections are reused."""
    result, idle = Result(), [Connection(target.port) for _ in range(4)]
    raw = target.request(prompt, False)

    async def one() -> None:
        line = idle.pop() if idle else Connection(target.port)
        await _timed(result, line.ask(raw, target.wire), False)
        idle.append(line)

    began, running = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        running.append(asyncio.create_task(one()))
    await asyncio.gather(*running)
    result.seconds = time.perf_counter() - began
    for line in idle:
        line.close()
    return result


async def streams(target: Target, count: int, prompt: str, spread: float = 0.5) -> Result:
    """`count` streams at once, opened evenly over `spread` seconds, each read to its end."""
    return await _together(target, count, prompt, spread, Connection)


async def socket_turns(target: Target, count: int, prompt: str, spread: float = 0.5) -> Result:
    """`count` streams over WebSockets, which are all open before the first turn starts."""
    return await _together(target, count, prompt, spread, Socket)


async def _together(target: Target, count: int, prompt: str, spread: float, kind: type[Connection]) -> Result:
    result = Result()
    lines = [kind(target.port) for _ in range(count)]
    if kind is Socket:
        for first in range(0, count, 50):
            batch = range(first, min(first + 50, count))
            await asyncio.gather(*(lines[number].open(target.head("GET", target.wire.path, number)) for number in batch))

    async def one(number: int) -> None:
        await asyncio.sleep(spread * number / count)
        raw = target.request(prompt, True, number)
        await _timed(result, lines[number].ask(raw, target.wire), True)
        lines[number].close()

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    result.seconds = time.perf_counter() - began
    return result
