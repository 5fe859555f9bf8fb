"""Viewers that have seen more of a turn than stands, because the process that wrote it died before its last events were logged."""

from __future__ import annotations

import asyncio
from uuid import UUID

from django.conf import settings

from agents import events
from agents.events import Rewound
from aiagents.core import jsonio
from chat.models import Message
from chat.turns import event_log
from chat.turns.event_log import TurnLine

# Seconds that a log which is behind a viewer is given to catch up: its writer may be alive and only about to write.
CATCH_UP_SECONDS = 1.0


def line(rewound: Rewound) -> TurnLine:
    """The `message.rewind` event. Its seq is that of the last event that stands, so that a client resumes after that one."""
    name, data = events.encode(rewound)
    return rewound.seq, name, jsonio.dumps(data)


def by_row(answer: Message, after: int) -> Rewound | None:
    """What stands of an ended turn, for a viewer that says it has seen event `after`; None where nothing was lost.

    Only a turn that was interrupted can have lost events. Its end may carry the seq of one of them, so a viewer that names
    that seq is rewound, too.
    """
    end = max(answer.last_seq, 1)
    if answer.status != Message.Status.INTERRUPTED or after < end:
        return None
    return Rewound(end - 1, len(answer.content), len(answer.reasoning), len(answer.steps))


def by_row_or_log(answer: Message, logged: Rewound, after: int) -> Rewound | None:
    """What stands of a turn whose row may hold more than its log: the row follows every second, the log may have stalled."""
    if answer.status not in Message.RUNNING:
        return by_row(answer, after)
    if answer.last_seq >= after:
        return None
    if answer.last_seq <= logged.seq:
        return logged
    return Rewound(answer.last_seq, len(answer.content), len(answer.reasoning), max(len(answer.steps), logged.steps))


async def by_log(id: UUID, after: int) -> Rewound | None:
    """What the log holds of a turn or task run that goes on elsewhere, for a viewer that has seen event `after`.

    None where the log holds that event, gets it within CATCH_UP_SECONDS, or is not there at all.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CATCH_UP_SECONDS
    while -1 < await event_log.end_of(id) < after:
        if loop.time() < deadline:
            await asyncio.sleep(settings.TURN_LOG_BATCH_SECONDS)
            continue
        told = await asyncio.to_thread(event_log.text_so_far, id)
        last = told.end[0] - 1 if told.end else told.last
        return Rewound(last, len(told.content), len(told.reasoning), len(told.steps)) if last < after else None
    return None
