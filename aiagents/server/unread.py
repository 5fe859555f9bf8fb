"""Detects the end of connections whose reading is paused.

If a client sends much data after its first request, reading pauses until that request is answered. The event loop watches a
descriptor only for reading or writing, so it would report neither a reset nor an end of such a connection.
"""

from __future__ import annotations

import asyncio
import select
from typing import Protocol

# Seconds between two checks of the paused connections. A check is one system call for all of them.
CHECK_EVERY = 0.5
# Linux reports the client's FIN after unread data. Other systems report only a reset.
_RDHUP = getattr(select, "POLLRDHUP", 0)


class Connection(Protocol):
    def ended_unread(self, by_reset: bool) -> None:
        """The client reset the connection or, if `by_reset` is False, closed its side of it."""


class Unread:
    """The paused connections of one event loop. A timer runs only while there are any."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._connections: dict[int, Connection] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, descriptor: int, connection: Connection) -> None:
        self._connections[descriptor] = connection
        self._poll.register(descriptor, _RDHUP)  # errors and hang-ups are always reported
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_EVERY, self._check)

    def discard(self, descriptor: int) -> None:
        """Remove a connection. Call it before the descriptor is closed, because another connection may get its number."""
        if self._connections.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _check(self) -> None:
        for descriptor, events in self._poll.poll(0):
            if connection := self._connections.get(descriptor):
                connection.ended_unread(bool(events & ~_RDHUP))
        self._timer = asyncio.get_running_loop().call_later(CHECK_EVERY, self._check) if self._connections else None


UNREAD = Unread()
