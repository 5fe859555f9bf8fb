"""The part of HTTP/1.1 that vendors' clients use. It works by callbacks, so that thousands of connections are cheap."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from agents.simulator.script import Script

_MAX_HEAD = 64 * 1024


@dataclass
class Seen:
    """One request and the state of its answer. Times are seconds of `time.monotonic`."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    at: float
    model: str = ""
    status: int = 0
    sent: int = 0  # pieces written
    client_gone: bool = False  # the client disconnected before the end of the answer
    ended_at: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


class Connection(asyncio.Protocol):
    """Reads requests one after another and plays the script that `respond` returns for each."""

    def __init__(self, respond: Callable[[Seen], Script], connections: set[Connection]) -> None:
        self.respond, self.connections = respond, connections
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.seen: Seen | None = None
        self.script: Script | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.paused = False
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.seen is not None:
            self.seen.client_gone, self.seen.ended_at = True, time.monotonic()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.seen is None:
            self._next()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.script is not None and self.timer is None:
            self._step()

    def _next(self) -> None:
        """Answer the first request of the buffer once it is complete."""
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            if len(head) > _MAX_HEAD:
                self.transport.abort()
            return
        lines = head.decode("latin-1").split("\r\n")
        method, _, target = lines[0].partition(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.seen = Seen(method, target.rpartition(" ")[0], headers, rest[:length], time.monotonic())
        self.script = self.respond(self.seen)
        self.seen.status = self.script.status
        if self.script.ending == "refuse":
            self._drop()
        elif self.script.first:
            self.due = self.loop.time() + self.script.first
            self.timer = self.loop.call_at(self.due, self._step)
        else:
            self.due = self.loop.time()
            self._step()

    def _step(self) -> None:
        """Write the next piece and all overdue ones."""
        self.timer = None
        script, seen = self.script, self.seen
        assert script and seen
        while seen.sent < len(script.pieces):
            self.transport.write(script.pieces[seen.sent])
            seen.sent += 1
            if seen.sent == len(script.pieces):
                break
            self.due += script.pace
            if self.paused or self.transport.is_closing():
                return
            if self.due > self.loop.time():
                self.timer = self.loop.call_at(self.due, self._step)
                return
        self._end(script, seen)

    def _end(self, script: Script, seen: Seen) -> None:
        if script.ending == "stall":
            return  # until the client disconnects
        self.seen = self.script = None
        seen.ended_at = time.monotonic()
        if script.ending == "cut":
            self.loop.call_later(0.01, self._drop)  # lets the written bytes arrive first
        elif script.ending == "close":
            self.transport.close()
        elif self.buffer:
            self._next()

    def _drop(self) -> None:
        """Reset the connection, so that the client sees an error and not a clean end."""
        if self.seen is not None:
            self.seen.ended_at = time.monotonic()
        self.seen = None
        if (sock := self.transport.get_extra_info("socket")) is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
