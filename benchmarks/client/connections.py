"""Raw client connections: a kept-alive HTTP/1.1 connection and a WebSocket, without a library or objects per chunk."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from typing import Any

# Bytes kept from the last chunk: the longest pattern is shorter, so a pattern that spans two chunks is found.
_OVERLAP = 64


class Lost(Exception):
    """The server closed the connection before the end of its response."""


class Connection(asyncio.Protocol):
    """One kept-alive connection, opened when it is first needed; one request at a time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.transport: Any = None
        self.wire: Any = None
        self.done: asyncio.Future[tuple[int, float | None, bool]] | None = None
        # Set once `head` holds the response's head.
        self.headed = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        self.status, self.first, self.ended = 0, None, False
        self.head, self.left, self.tail = bytearray(), -1, b""
        self.headed.clear()

    async def connect(self) -> None:
        if self.transport is None or self.transport.is_closing():
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)

    async def open(self, head: bytes) -> None:
        await self.connect()

    async def ask(self, raw: bytes, wire: Any) -> tuple[int, float | None, bool]:
        """Send a request. Returns the status, the time of the first token, and whether the stream had its proper end."""
        await self.connect()
        self.reset()
        self.wire = wire
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return await self.done

    # --- asyncio's side -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(Lost())

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = bytes(self.head[:end]).lower(), bytes(self.head[end + 4 :])
            self.status = int(head[9:12])
            self.headed.set()
            _, mark, rest = head.partition(b"content-length:")
            self.left = int(rest.partition(b"\r")[0]) if mark else -1
        if self.left >= 0:
            self.left -= len(data)
            if self.left <= 0:
                self.finish()
            return
        self.look(data)
        if self.tail.endswith(b"\r\n0\r\n\r\n") or self.tail == b"0\r\n\r\n":
            self.finish()

    def look(self, data: bytes) -> None:
        """Search the received bytes for the first token, later only for the end."""
        seen = self.tail + data
        if self.first is None and self.wire.first.search(seen):
            self.first = time.perf_counter()
        if not self.ended and self.wire.end.search(seen):
            self.ended = True
        self.tail = seen[-_OVERLAP:]

    def finish(self) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result((self.status, self.first, self.ended))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class Socket(Connection):
    """One WebSocket; `ask` sends the JSON of an HTTP request as a `send` frame and returns after the turn's last event.

    It does not answer pings, so it must close before the server's ping interval and time-out are over (20 s + 30 s).
    """

    async def open(self, head: bytes) -> None:
        """The handshake."""
        await self.connect()
        self.reset()
        self.done = asyncio.get_running_loop().create_future()
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA=="
        plain = head.replace(b"Content-Type: application/json\r\nContent-Length: 0\r\n", upgrade.encode() + b"\r\n")
        self.transport.write(plain)
        status, _, _ = await self.done
        if status != 101:
            raise Lost(f"handshake: {status}")

    async def ask(self, raw: bytes, wire: Any) -> tuple[int, float | None, bool]:
        body = raw[raw.index(b"\r\n\r\n") + 4 :]
        self.first, self.ended, self.tail, self.wire = None, False, b"", wire
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(frame(b'{"type":"send",' + body[1:]))
        return await self.done

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return
            self.status = int(self.head[9:12])
            self.finish()
            return
        if self.wire is None or self.done is None or self.done.done():
            return
        seen = self.tail + data
        self.look(data)
        if self.ended or b'"type":"error"' in seen:
            self.status = 200
            self.finish()


def frame(payload: bytes) -> bytes:
    """A client's text frame, masked as RFC 6455 requires."""
    mask = os.urandom(4)
    size = len(payload)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + struct.pack(">H", size)
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")).to_bytes(size, "big")
    return head + mask + masked
