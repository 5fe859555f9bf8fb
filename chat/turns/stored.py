"""A turn read from its event log and its row, for viewers in other processes than its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import UUID

from agents import recorded
from agents.recorded import rewind_line
from aiagents.core.db.calls import in_db
from aiagents.core.live import follow as live
from aiagents.core.live.broadcast import Leave
from aiagents.core.live.event_log import EventLog, Line
from chat.models import Message
from chat.turns import replay, rewind

event_log = EventLog("chat:turn")


def follow(message_id: UUID, after: int = -1, leave: Leave | None = None) -> AsyncGenerator[Line, None]:
    """Yield the events after seq `after` of a turn of another process; see `aiagents.core.live.follow`."""
    return live.follow(event_log, message_id, after, StoredTurn(message_id), leave)


class StoredTurn(live.Stored):
    """A turn as its row has it."""

    def __init__(self, message_id: UUID) -> None:
        self.id = message_id

    async def rewind(self, after: int) -> Line | None:
        answer = await self._row()
        if answer.status not in Message.RUNNING:
            rewound = rewind.by_row(answer, after)
        elif (rewound := await recorded.short_of(event_log, self.id, after)) is not None:
            rewound = rewind.by_row_or_log(await self._row(), rewound, after)
        return None if rewound is None else rewind_line(rewound)

    async def ended(self) -> bool:
        return await in_db(_status, self.id) not in Message.RUNNING

    async def lines(self, after: int) -> list[Line] | None:
        answer = await self._row()
        return None if answer.status in Message.RUNNING else replay.lines(answer, after)

    async def _row(self) -> Message:
        return await in_db(Message.objects.get, id=self.id)


def _status(message_id: UUID) -> str:
    return Message.objects.values_list("status", flat=True).get(id=message_id)
