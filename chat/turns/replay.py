"""The events of an ended turn, made from its row once its log is gone.

The row has no single deltas. So a replay from the start has the turn's start, its reasoning, its tool steps and its text
in one delta each, and each has the seq of the last event that it stands for. A replay from the middle has only the end:
that holds the whole message, so nothing is missing and nothing repeated.
"""

from __future__ import annotations

from agents import events
from agents.recorded import rewind_line
from aiagents.core.live.event_log import Line
from chat.conversations import as_json as message_json
from chat.models import Message
from chat.turns import rewind


def lines(answer: Message, after: int) -> list[Line]:
    """Return the events of an ended turn after `after`, its end included. If events that were seen are lost, a rewind comes first."""
    kind, data = message_json.ending(answer)
    last = max(answer.last_seq, 1)
    end = (last, kind, data)
    if (rewound := rewind.by_row(answer, after)) is not None:
        return [rewind_line(rewound), end]
    if after >= 0:
        return [end]
    middle: list[tuple[str, bytes]] = []
    if answer.reasoning:
        middle.append(events.write(events.ReasoningDelta(answer.reasoning)))
    middle += map(events.write_step, answer.steps)
    if answer.content:
        middle.append(events.write(events.TextDelta(answer.content)))
    ids = str(answer.conversation_id), str(answer.parent_id) if answer.parent_id else None, str(answer.id)
    started = events.TurnStarted(*ids, answer.model, answer.provider, answer.route)
    first = max(1, last - len(middle))
    lines = [(first + index, kind, data) for index, (kind, data) in enumerate(middle)]
    return [(0, *events.write(started)), *lines, (max(last, first + len(middle)), end[1], end[2])]
