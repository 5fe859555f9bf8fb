"""A client for ASGI applications inside the test's process, byte for byte, without a socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from django.core.asgi import get_asgi_application
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from tests.kit.waiting import until


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    # Body messages as they were sent.
    parts: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object. In Google's shape `code` is the HTTP status, and our code and type stand in the details."""
        found = self.json["error"]
        if isinstance(found.get("code"), int):
            info = found["details"][0]
            return found | {"code": info["reason"], "type": info["metadata"]["type"], "param": info["metadata"].get("param")}
        return found


class Client:
    """One connection. `leave()` hangs up; `reading` cleared makes every `send` wait until it is set again."""

    def __init__(self, body: bytes | list[bytes]) -> None:
        chunks = body if isinstance(body, list) else [body]
        self._incoming = [
            {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1} for index, chunk in enumerate(chunks)
        ]
        self._gone = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.arrived = asyncio.Event()
        self.answer = Answer()

    def leave(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        if self._incoming:
            return self._incoming.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.reading.wait()
        if message["type"] == "http.response.start":
            assert not self.answer.status, "two starts"
            self.answer.status = message["status"]
            for name, value in message["headers"]:
                key = name.decode().lower()
                text = value.decode("latin-1")
                self.answer.headers[key] = f"{self.answer.headers[key]}, {text}" if key in self.answer.headers else text
        else:
            assert self.answer.status and not self.answer.ended, "a body outside of an answer"
            self.answer.parts.append(message.get("body", b""))
            self.answer.ended = not message.get("more_body")
        self.arrived.set()

    async def wait_for(self, text: bytes, seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while text not in self.answer.body:
                self.arrived.clear()
                await self.arrived.wait()


def scope(
    method: str, target: str | bytes, headers: dict[str, str] | list[tuple[bytes, bytes]] | None = None, peer: str = "127.0.0.1"
) -> dict[str, Any]:
    """An HTTP scope as our server makes it; `target` is the path as it stands on the wire, with its query."""
    raw = target.encode("ascii") if isinstance(target, str) else target
    path, _, query = raw.partition(b"?")
    pairs = (
        headers
        if isinstance(headers, list)
        else [(name.lower().encode(), value.encode("utf-8")) for name, value in (headers or {}).items()]
    )
    if not any(name == b"host" for name, _ in pairs):
        pairs = [(b"host", b"testserver"), *pairs]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(path.decode("latin-1")), "raw_path": path, "root_path": "", "query_string": query, "headers": pairs,
        "client": [peer, 50000], "server": ["testserver", 80],
    }  # fmt: skip


async def ask(
    application: Any,
    method: str,
    target: str | bytes,
    body: Any = None,
    headers: dict[str, str] | list[tuple[bytes, bytes]] | None = None,
    key: str = "",
    peer: str = "127.0.0.1",
) -> Answer:
    """One request and its whole answer. A body that is not bytes is sent as JSON."""
    raw, found = prepare(body, headers, key)
    client = Client(raw)
    task = asyncio.ensure_future(application(scope(method, target, found, peer), client.receive, client.send))
    async with asyncio.timeout(30):
        await task
    assert client.answer.ended, "the answer was not ended"
    return client.answer


def prepare(body: Any, headers: Any, key: str) -> tuple[bytes | list[bytes], Any]:
    raw: bytes | list[bytes] = (
        b"" if body is None else body if isinstance(body, bytes | list) and _is_raw(body) else json.dumps(body).encode()
    )
    if isinstance(headers, list):
        return raw, headers
    found = {name.lower(): value for name, value in (headers or {}).items()}
    if body is not None:
        found.setdefault("content-type", "application/json")
        if isinstance(raw, bytes):
            found.setdefault("content-length", str(len(raw)))
    if key:
        found["authorization"] = f"Bearer {key}"
    return raw, found


def _is_raw(body: Any) -> bool:
    return isinstance(body, bytes) or (isinstance(body, list) and bool(body) and all(isinstance(chunk, bytes) for chunk in body))


def start(
    application: Any, method: str, target: str, body: Any = None, headers: Any = None, key: str = ""
) -> tuple[Client, asyncio.Task[None]]:
    """A request under way, for tests that leave, stall or watch."""
    raw, found = prepare(body, headers, key)
    client = Client(raw)
    return client, asyncio.ensure_future(application(scope(method, target, found), client.receive, client.send))


async def django(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Django as it is served, but on the test's own thread and so in the test's transaction."""
    global _handler
    if _handler is None:
        _handler = get_asgi_application()
    for signal in (request_started, request_finished):  # as Django's own test client does: the connection is the test's
        signal.disconnect(close_old_connections)
    try:
        await _handler.handle(scope, receive, send)
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


_handler: Any = None


async def product(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The whole product's paths: its endpoints beside Django, and Django behind them."""
    from aiagents import endpoints  # needs Django's apps

    if endpoints.http.matches(scope):
        await endpoints.http(scope, receive, send)
        return await _quiet()
    await django(scope, receive, send)


async def _quiet(seconds: float = 30) -> None:
    """Wait for the turns that a request began: they outlive it, and may not outlive its test."""
    from chat.turns import running as running_turns  # needs Django's apps

    here = running_turns.here()
    await until(lambda: not here.turns and not here.background, seconds, every=0.005)
