"""Connections that are not read at present, and how their end is noticed all the same.

A client that sends much behind its first request is not read further until that request is answered. The event loop watches a
descriptor only for reading or writing, so it would report neither a reset nor an end of such a connection.
"""

from __future__ import annotations

import asyncio
import select
from typing import Protocol

# Seconds between two looks at the connections that are not read. One look costs one system call for all of them.
LOOK_EVERY = 0.5
# Linux reports the client's FIN behind data that was not read. Elsewhere only a reset is noticed.
_RDHUP = getattr(select, "POLLRDHUP", 0)


class Connection(Protocol):
    def ended_unread(self, by_reset: bool) -> None:
        """The client reset the connection or, where `by_reset` is False, closed its side of it."""


class Unread:
    """The unread connections of one event loop. A timer runs only while there are any."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._connections: dict[int, Connection] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, descriptor: int, connection: Connection) -> None:
        self._connections[descriptor] = connection
        self._poll.register(descriptor, _RDHUP)  # errors and hang-ups are always reported
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def discard(self, descriptor: int) -> None:
        """Must come before the descriptor is closed: its number is soon another connection's."""
        if self._connections.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _look(self) -> None:
        for descriptor, events in self._poll.poll(0):
            if connection := self._connections.get(descriptor):
                connection.ended_unread(bool(events & ~_RDHUP))
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look) if self._connections else None


UNREAD = Unread()
