"""A client of the WebSocket, straight at the ASGI application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiagents import endpoints


class Refused(Exception):
    """The handshake was answered with 403."""


class Socket:
    """`async with Socket(key=…) as socket`; `code` is set once the server closed it."""

    def __init__(
        self,
        *,
        key: str = "",
        origin: str | None = None,
        protocols: tuple[str, ...] = (),
        path="/api/v1/chat/ws",
        query=b"",
        host="testserver",
        news: bool = False,
    ):
        self.news = news
        headers = {"host": host}
        if key:
            headers["authorization"] = f"Bearer {key}"
        if origin is not None:
            headers["origin"] = origin
        self.scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": query, "scheme": "ws",
            "subprotocols": list(protocols),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "client": ("127.0.0.1", 5000), "root_path": "",
        }  # fmt: skip
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.code: int | None = None
        self.subprotocol: str | None = None

    async def __aenter__(self) -> Socket:
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(endpoints.websocket(self.scope, self.inbox.get, self.outbox.put))
        answer = await asyncio.wait_for(self.outbox.get(), 10)
        if answer["type"] == "websocket.close":
            await self.task
            raise Refused
        self.subprotocol = answer.get("subprotocol")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(self.task, 10)

    def send(self, frame: Any) -> None:
        if isinstance(frame, bytes):
            self.inbox.put_nowait({"type": "websocket.receive", "bytes": frame})
        else:
            self.inbox.put_nowait({"type": "websocket.receive", "text": frame if isinstance(frame, str) else json.dumps(frame)})

    async def frame(self, seconds: float = 10) -> dict[str, Any]:
        """The next frame, news left out where the test does not want them; {} once the server has closed."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self.outbox.get()
                if message["type"] == "websocket.close":
                    self.code = message.get("code", 1000)
                    return {}
                frame = json.loads(message["text"])
                if self.news or frame["type"] != "news":
                    return frame

    async def until(self, *types: str) -> list[dict[str, Any]]:
        """Frames up to the first of one of these types."""
        frames = []
        while True:
            frames.append(await self.frame())
            if frames[-1].get("type") in types or not frames[-1]:
                return frames

    async def closed(self, seconds: float = 10) -> int | None:
        async with asyncio.timeout(seconds):
            while self.code is None:
                await self.frame()
        return self.code
