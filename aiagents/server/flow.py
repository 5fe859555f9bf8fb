"""Back-pressure in both directions: `send` waits for a client that reads slowly, and a client that floods is not read."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Any

from django.conf import settings
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

# Unread bytes and messages of one WebSocket at which reading from the client pauses; it resumes at half of them.
INBOX_BYTES = 2 * settings.MAX_FRAME_BYTES
INBOX_MESSAGES = 256


@implementer(IPushProducer)
class Flow:
    """A producer of Twisted: the transport pauses it when its buffer (64 KiB) is full. `ready()` makes a sender wait.

    If the client reads nothing for `VIEWER_STALL_SECONDS`, `stalled` is called and the wait ends.
    """

    def __init__(self, transport: Any, stalled: Callable[[], None]) -> None:
        self._transport = transport
        self._stalled = stalled
        self._drained: asyncio.Future[None] | None = None

    def pauseProducing(self) -> None:
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # The connection is closed: waiting senders continue, and their `send` does nothing.
    stopProducing = resumeProducing

    async def ready(self) -> None:
        """Return once the client has read enough of the sent data (usually at once)."""
        while self._drained is not None:
            before = self._pending()
            done, _ = await asyncio.wait([self._drained], timeout=settings.VIEWER_STALL_SECONDS)
            if not done and self._drained is not None and self._pending() >= before:
                self.resumeProducing()
                self._stalled()
                return

    def _pending(self) -> int:
        """Bytes that the client has not acknowledged, in our buffer and in the kernel's, which drains first."""
        waiting = len(self._transport.dataBuffer) - self._transport.offset + self._transport._tempDataLen
        try:
            kernels = fcntl.ioctl(self._transport.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:  # not supported by every system
            return waiting
        return waiting + struct.unpack("i", kernels)[0]


class Inbox(asyncio.Queue):
    """The unread messages of a socket. It calls `pause` above its limits, and `resume` once half of them are read."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        super().__init__()
        self._pause, self._resume = pause, resume
        self._bytes = 0
        self._paused = False

    def _put(self, item: dict[str, Any]) -> None:
        super()._put(item)
        self._bytes += _size(item)
        if not self._paused and (self._bytes > INBOX_BYTES or self.qsize() > INBOX_MESSAGES):
            self._paused = True
            self._pause()

    def _get(self) -> dict[str, Any]:
        item = super()._get()
        self._bytes -= _size(item)
        if self._paused and self._bytes * 2 <= INBOX_BYTES and self.qsize() * 2 <= INBOX_MESSAGES:
            self._paused = False
            self._resume()
        return item


def _size(message: dict[str, Any]) -> int:
    return len(message.get("text") or message.get("bytes") or "")
