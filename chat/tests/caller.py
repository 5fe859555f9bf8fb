"""A client of the endpoints beside Django, straight at the ASGI application."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiagents.endpoints import http as application


@dataclass
class Answer:
    """`status` and `headers` are there from the start, the body as far as it was read."""

    status: int
    headers: dict[str, str]
    _messages: asyncio.Queue[dict[str, Any]]
    _inbox: asyncio.Queue[dict[str, Any]]
    task: asyncio.Task[None]
    body: bytes = b""
    done: bool = False
    events: list[tuple[int | None, str, Any]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    async def more(self) -> bool:
        """Read one piece of the body; False at the end."""
        if self.done:
            return False
        message = await asyncio.wait_for(self._messages.get(), 20)
        self.body += message.get("body", b"")
        self.done = not message.get("more_body", False)
        return True

    async def read(self) -> Answer:
        while await self.more():
            pass
        await asyncio.wait_for(asyncio.shield(self.task), 5)
        self.events = parse(self.body)
        return self

    async def read_events(self, count: int) -> list[tuple[int | None, str, Any]]:
        while len(parse(self.body)) < count and await self.more():
            pass
        return parse(self.body)

    async def hang_up(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(asyncio.shield(self.task), 5)


def parse(body: bytes) -> list[tuple[int | None, str, Any]]:
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]) if "id" in lines else None, lines["event"], json.loads(lines["data"])))
    return found


async def call(method: str, path: str, body: Any = None, *, key: str = "", headers: dict[str, str] | None = None) -> Answer:
    """The answer's head; its body comes with `read`."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = {"host": "testserver", "content-type": "application/json", "content-length": str(len(raw)), **(headers or {})}
    if key:
        sent["authorization"] = f"Bearer {key}"
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(), "scheme": "http",
        "http_version": "1.1", "client": ("127.0.0.1", 5000), "server": ("testserver", 80), "asgi": {"version": "3.0"},
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }  # fmt: skip
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": raw, "more_body": False})
    task = asyncio.create_task(application(scope, inbox.get, outbox.put))
    start = await asyncio.wait_for(outbox.get(), 20)
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, outbox, inbox, task)


async def whole(*args: Any, **kwargs: Any) -> Answer:
    return await (await call(*args, **kwargs)).read()
