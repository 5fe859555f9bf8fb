"""What the events of an event log add up to, and the rewind of viewers that have seen more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from agents import events
from agents.events import Rewound
from aiagents.core.live.event_log import TERMINAL, EventLog, Line


@dataclass(slots=True)
class Recorded:
    """`last`: the seq of the last event, -1 for none. `end`: the terminal event."""

    content: str = ""
    reasoning: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    provider: str = ""
    route: dict[str, Any] = field(default_factory=dict)
    last: int = -1
    end: Line | None = None
    attempt: int = 0

    @property
    def so_far(self) -> Rewound:
        """What stands, the terminal event left out."""
        last = self.last if self.end is None else self.end[0] - 1
        return Rewound(last, len(self.content), len(self.reasoning), len(self.steps))


def add_up(lines: Iterable[Line]) -> Recorded:
    """The sum of the events of one piece of work, which are given from the first on."""
    found = Recorded()
    for seq, kind, data in lines:
        found.last = seq
        if kind in TERMINAL:
            found.end = (seq, kind, data)
            continue
        value = orjson.loads(data)
        match kind:
            case "content.delta":
                found.content += value["text"]
            case "reasoning.delta":
                found.reasoning += value["text"]
            case "tool.call" | "tool.result":
                found.steps.append({"type": kind, **value})
            case "run.status" if value["attempt"] != found.attempt:  # a task's further attempt begins its text anew
                found.attempt = value["attempt"]
                found.content, found.reasoning, found.steps = "", "", []
            case "message.start":
                found.model, found.provider, found.route = value["model"], value["provider"], value["route"]
    return found


def rewind_line(rewound: Rewound) -> Line:
    """The `message.rewind` event. Its seq is that of the last event that stands, so that a client resumes after that one."""
    return rewound.seq, *events.write(rewound)


async def short_of(log: EventLog, id: UUID, after: int) -> Rewound | None:
    """What the log holds of work that goes on elsewhere, for a viewer that has seen event `after`; None where nothing is lost."""
    lines = await log.lines_short_of(id, after)
    if lines is None:
        return None
    so_far = (await asyncio.to_thread(add_up, lines)).so_far
    return so_far if so_far.seq < after else None
