"""A task's run read from its event log and its row, for viewers in any process.

Each run has one log, over all its attempts and workers. If a log is lost, viewers miss single events but never the end,
which is read from the row.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from uuid import UUID

from django.db import transaction

from agents import recorded
from agents.events import REWIND, Failed, Rewound, TextDelta, write
from agents.recorded import rewind_line
from aiagents.core import jsonio
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotFound
from aiagents.core.live import follow as live
from aiagents.core.live.event_log import EventLog, Line
from aiagents.core.logs import context
from aiagents.core.valkey.clients import AWAY
from tasks.models import ENDED, TaskRun
from tasks.runs import as_json as run_json

logger = logging.getLogger(__name__)
# Logs written by earlier versions have this key, too.
event_log = EventLog("chat:turn")
# Event ids of a task: the run's number times this, plus the event's place in the run.
PER_RUN = 1_000_000


def close(run: TaskRun) -> None:
    """Append the end of a run that ended without a worker to its log, after the commit of the present transaction."""
    kind, data = run_json.event(run)
    line = (run.last_seq, kind, data)

    def tell() -> None:
        try:
            event_log.close(run.id, line)
        except AWAY:
            logger.warning("run_log_away", extra={"run_id": str(run.id)})

    transaction.on_commit(tell)


# --- for viewers --------------------------------------------------------------------------------


def follow(run: TaskRun, after: int) -> AsyncGenerator[Line, None]:
    """Yield the run's events after `after` as they happen; the last is always its end. If the log is gone, the row is read.

    A viewer whose `after` is beyond the stored events (Valkey lost the end of a log) gets `message.rewind` first.
    """
    return live.follow(event_log, run.id, after, StoredRun(run.id))


class StoredRun(live.Stored):
    """The stored run of a task. A deleted one has ended."""

    def __init__(self, run_id: UUID) -> None:
        self.id = run_id

    async def rewind(self, after: int) -> Line | None:
        run = await in_db(_row, self.id)
        if run is not None and run.status in ENDED:
            rewound = by_row(run, after)
        else:
            rewound = await recorded.short_of(event_log, self.id, after)
        return None if rewound is None else rewind_line(rewound)

    async def ended(self) -> bool:
        return await in_db(_status, self.id) in (None, *ENDED)

    async def lines(self, after: int) -> list[Line] | None:
        run = await in_db(_row, self.id)
        if run is None:
            return [deleted(after + 1)]
        return from_row(run, after) if run.status in ENDED else None


def from_row(run: TaskRun, after: int) -> list[Line]:
    """Return the events of an ended run without a log: its whole text and its end, or from the middle only its end."""
    kind, data = run_json.event(run)
    end = (max(run.last_seq, 0), kind, data)
    if (rewound := by_row(run, after)) is not None:
        return [rewind_line(rewound), end]
    if after >= 0 or not run.output:
        return [end]
    return [(0, *write(TextDelta(run.output))), (max(run.last_seq, 1), kind, data)]


def by_row(run: TaskRun, after: int) -> Rewound | None:
    """Return what is valid of an ended run for a viewer that has seen event `after`; None if that event is still valid."""
    return Rewound(run.last_seq - 1, len(run.output)) if 0 <= run.last_seq < after else None


def numbered(run: TaskRun, line: Line) -> Line:
    """Return the event with its id in the stream of all the task's runs."""
    seq, kind, data = line
    place = run.number * PER_RUN + min(seq, PER_RUN - 1)
    return place, kind, jsonio.dumps(jsonio.loads(data) | {"seq": place}) if kind == REWIND else data


def deleted(seq: int) -> Line:
    """Return the last event for a client whose task was deleted meanwhile."""
    gone = NotFound("This task was deleted.").body(context.request_id.get())
    return seq, *write(Failed(gone["error"], {"message": None}))


def _row(run_id: UUID) -> TaskRun | None:
    return TaskRun.objects.select_related("task").filter(pk=run_id, task__deleted_at=None).first()


def _status(run_id: UUID) -> str | None:
    return TaskRun.objects.values_list("status", flat=True).filter(pk=run_id).first()
