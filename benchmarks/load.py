"""A load generator that costs little itself: raw HTTP/1.1 over asyncio, no client library in the way.

Used by `benchmarks.gateway` in a process of its own. Everything stays on loopback, bounded in count and time.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """Where to send a chat completion: `path` on 127.0.0.1:`port`, with this key and model."""

    name: str
    port: int
    path: str
    key: str
    model: str

    def request(self, prompt: str, stream: bool) -> bytes:
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 400}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        raw = json.dumps(body).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        return head.encode() + raw


@dataclass
class Result:
    """Seconds. `latencies` of whole requests, `firsts` to the first token, `errors` by what went wrong."""

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


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(self, raw: bytes) -> tuple[int, dict[bytes, bytes]]:
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        assert self.reader
        self.writer.write(raw)
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
        return int(lines[0].split()[1]), headers

    async def json(self, raw: bytes) -> int:
        status, headers = await self.send(raw)
        assert self.reader
        if b"content-length" in headers:
            await self.reader.readexactly(int(headers[b"content-length"]))
        else:
            async for _ in self._chunks():
                pass
        return status

    async def stream(self, raw: bytes) -> tuple[int, float | None, bool]:
        """Status, the moment of the first token, and whether the terminal mark came."""
        status, headers = await self.send(raw)
        assert self.reader
        if b"content-length" in headers:
            await self.reader.readexactly(int(headers[b"content-length"]))
            return status, None, False
        first, done = None, False
        async for chunk in self._chunks():
            if first is None and b'"content":"' in chunk and chunk.count(b'"content":"') > chunk.count(b'"content":""'):
                first = time.perf_counter()
            done = done or b"[DONE]" in chunk
        return status, first, done

    async def _chunks(self):
        assert self.reader
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            data = await self.reader.readexactly(size + 2)
            if size == 0:
                return
            yield data

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


async def closed_loop(target: Target, concurrency: int, seconds: float, prompt: str) -> Result:
    """`concurrency` connections, each sending its next request when the last was answered."""
    result, stop = Result(), time.perf_counter() + seconds

    async def worker() -> None:
        connection, raw = Connection(target.port), target.request(prompt, False)
        while time.perf_counter() < stop:
            began = time.perf_counter()
            try:
                status = await connection.json(raw)
            except (OSError, asyncio.IncompleteReadError) as exc:
                result.error(type(exc).__name__)
                connection = Connection(target.port)
                continue
            if status == 200:
                result.latencies.append(time.perf_counter() - began)
            else:
                result.error(str(status))
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    result.seconds = time.perf_counter() - began
    return result


async def fixed_rate(target: Target, rate: float, seconds: float, prompt: str) -> Result:
    """`rate` requests per second whatever the answers do; idle connections are reused."""
    result, idle = Result(), [Connection(target.port) for _ in range(4)]
    raw = target.request(prompt, False)

    async def one() -> None:
        connection = idle.pop() if idle else Connection(target.port)
        began = time.perf_counter()
        try:
            status = await connection.json(raw)
        except (OSError, asyncio.IncompleteReadError) as exc:
            result.error(type(exc).__name__)
            return
        if status == 200:
            result.latencies.append(time.perf_counter() - began)
        else:
            result.error(str(status))
        idle.append(connection)

    began, running = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        running.append(asyncio.create_task(one()))
    await asyncio.gather(*running)
    result.seconds = time.perf_counter() - began
    for connection in idle:
        connection.close()
    return result


async def streams(target: Target, count: int, prompt: str, spread: float = 0.5) -> Result:
    """`count` streams at once, opened evenly over `spread` seconds, each read to its end."""
    result = Result()
    raw = target.request(prompt, True)

    async def one(number: int) -> None:
        await asyncio.sleep(spread * number / count)
        connection = Connection(target.port)
        began = time.perf_counter()
        try:
            status, first, done = await connection.stream(raw)
        except (OSError, asyncio.IncompleteReadError) as exc:
            result.error(type(exc).__name__)
            return
        finally:
            connection.close()
        if status != 200 or first is None or not done:
            result.error(f"{status} first={first is not None} done={done}")
            return
        result.firsts.append(first - began)
        result.latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    result.seconds = time.perf_counter() - began
    return result
