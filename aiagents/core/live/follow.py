"""Follow work of another process: by its event log; where that is gone or cannot be read, by its row once it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol
from uuid import UUID

from aiagents.core.live.broadcast import Leave
from aiagents.core.live.event_log import TERMINAL, EventLog, Line
from aiagents.core.valkey.clients import AWAY

logger = logging.getLogger(__name__)
# Seconds between two looks at the row of work that has no log.
_LOOK_EVERY = 0.2


class Stored(Protocol):
    """The work as the database has it; each call reads it anew."""

    async def rewind(self, after: int) -> Line | None:
        """The `message.rewind` event for a viewer that has seen event `after`; None where that event stands."""

    async def ended(self) -> bool:
        """Whether the work goes on no more."""

    async def lines(self, after: int) -> list[Line] | None:
        """The events of ended work after `after`, its end always among them; None while it goes on."""

    async def is_end(self, line: Line) -> bool:
        """Whether the terminal event of the log is the end. False where the work went on after it; it is then left out."""
        return True


async def follow(log: EventLog, id: UUID, after: int, stored: Stored, leave: Leave | None = None) -> AsyncGenerator[Line, None]:
    """The events after seq `after` as they happen, in order, always ending with the terminal one.

    A viewer whose `after` is beyond what stands gets `message.rewind` first.
    """
    while True:
        try:
            if after >= 0 and (rewind := await stored.rewind(after)) is not None:
                after = rewind[0]
                yield rewind
            async with aclosing(log.read(id, after)) as batches:
                async for lines in batches:
                    for line in lines:
                        if leave is not None and leave.gone:
                            return
                        after = line[0]
                        if line[1] not in TERMINAL:
                            yield line
                        elif await stored.is_end(line):
                            yield line
                            return
                    if leave is not None and leave.gone:
                        return
                    if not lines and await stored.ended():
                        break
        except AWAY:
            logger.warning("event_log_away", extra={"id": str(id)})
        if (rest := await stored.lines(after)) is not None:
            for line in rest:
                yield line
            return
        if leave is not None and leave.gone:
            return
        await asyncio.sleep(_LOOK_EVERY)
