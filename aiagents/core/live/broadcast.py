"""The events of one piece of work in the process that does it: one buffer, any number of viewers, each at its own pace.

No viewer's leaving ends the work. The event log in Valkey follows the buffer in batches (log_writer.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol
from uuid import UUID

from django.conf import settings

from aiagents.core.live.event_log import Line


class Leave:
    """A viewer's way out: `now()` ends its view, whatever it waits for."""

    __slots__ = ("gone", "waiter")

    def __init__(self) -> None:
        self.gone = False
        self.waiter: asyncio.Future[None] | None = None

    def now(self) -> None:
        self.gone = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Writer(Protocol):
    """What writes the buffer into the event log."""

    def has_news(self, broadcast: Broadcast) -> None:
        """A line was added."""

    def hurry(self) -> bool:
        """Write at once: a viewer waits for the log. False where the log cannot be written now."""


class Broadcast:
    """`lines` is the buffer; the first of them has seq `first`. The event log holds the events before seq `logged`.

    Work that goes on in another process than it began in starts with the lines of its log, or after event `first - 1`.
    Without `keep` the buffer holds what the log does not hold yet: then viewers read the log.
    """

    def __init__(self, id: UUID, writer: Writer, lines: Sequence[Line] = (), *, first: int = 0, keep: bool = True) -> None:
        self.id = id
        self.lines: list[Line] = list(lines)
        self.first, self.logged = first, first + len(lines)
        # Whether the next line to be logged begins the log: only then may it be made.
        self.begins_log = self.logged == 0
        self.ended = False
        self._keep = keep
        self._writer = writer
        self._waiters: list[asyncio.Future[None]] = []
        # Viewers that wait for the log, and whether it has kept one waiting in vain since it was last written.
        self._held: list[asyncio.Future[None]] = []
        self._log_stalls = False
        self._catching_up: list[asyncio.Future[None]] = []
        self._over = asyncio.Event()

    @property
    def last(self) -> int:
        """The seq of the newest event; -1: there is none."""
        return self.first + len(self.lines) - 1

    def add(self, kind: str, data: bytes) -> None:
        self.lines.append((self.last + 1, kind, data))
        self._writer.has_news(self)
        if self._waiters:
            self._waiters = _wake(self._waiters)

    def end(self, kind: str, data: bytes) -> None:
        """Add the terminal event."""
        self.ended = True
        self.add(kind, data)
        self._held = _wake(self._held)
        self._over.set()

    async def view(self, after: int = -1, leave: Leave | None = None) -> AsyncGenerator[Line, None]:
        """The events after seq `after`, at once when they happen; always ends with the terminal one.

        A viewer is at most TURN_LOG_MOST_AHEAD events ahead of the log, so that no more can be lost if this process dies.
        """
        position = after + 1
        most_ahead = settings.TURN_LOG_MOST_AHEAD
        while True:
            while position < len(self.lines):
                if position - self.logged >= most_ahead and not self.ended:
                    await self._log_follows(position, leave)
                if leave is not None and leave.gone:
                    return
                yield self.lines[position]
                position += 1
            if self.ended:
                if position == after + 1:
                    yield self.lines[-1]  # the viewer says that it has seen the end: it gets it again
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            if leave is not None:
                leave.waiter = waiter
            await waiter
            if leave is not None and leave.gone:
                return

    async def wait(self) -> None:
        """Return once the work has ended."""
        await self._over.wait()

    async def _log_follows(self, position: int, leave: Leave | None) -> None:
        """Wait until the log has come near `position`. Not where the log is away or stalls: the row follows every second."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settings.PROGRESS_INTERVAL_SECONDS
        while position - self.logged >= settings.TURN_LOG_MOST_AHEAD and not self.ended and not (leave is not None and leave.gone):
            if self._log_stalls or not self._writer.hurry():
                return
            waiter = loop.create_future()
            self._held.append(waiter)
            if leave is not None:
                leave.waiter = waiter
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                self._log_stalls = True

    def log_reaches(self, count: int) -> None:
        """The event log ends before seq `count`; 0 where it is gone: then it begins anew with the buffer."""
        self.begins_log, self._log_stalls = count <= self.first, False
        self.logged = min(max(count, self.first), self.last + 1)
        if not self._keep:
            del self.lines[: self.logged - self.first]
            self.first = self.logged
        self._held = _wake(self._held)
        self._catching_up = _wake(self._catching_up)

    @property
    def is_logged(self) -> bool:
        """Whether the log holds every event."""
        return self.logged > self.last

    def unlogged(self, most: int) -> list[Line]:
        """The first events that the log does not hold, `most` at most."""
        begin = self.logged - self.first
        return self.lines[begin : begin + most]

    async def log_caught_up(self, seconds: float) -> bool:
        """Wait until the log holds every event, `seconds` at most; whether it does."""
        try:
            async with asyncio.timeout(seconds):
                while not self.is_logged:
                    waiter = asyncio.get_running_loop().create_future()
                    self._catching_up.append(waiter)
                    await waiter
        except TimeoutError:
            return False
        return True


def _wake(waiters: list[asyncio.Future[None]]) -> list[asyncio.Future[None]]:
    """Wake them; the empty list of those that still wait."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    return []
