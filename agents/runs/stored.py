"""An agent run read from its event log and its row, for viewers in other processes than its own.

Only runs that were started over HTTP have a log. A chat or a task streams the events of its runs; here such a run has a start and an end.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from uuid import UUID

from agents import recorded
from agents.events import Failed, Rewound, TurnEnded, TurnStarted, write
from agents.models import AgentRun
from agents.recorded import rewind_line
from agents.runs import as_json as run_json
from agents.runs import store as run_store
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError, NotFound
from aiagents.core.live import follow as live
from aiagents.core.live.event_log import TERMINAL, EventLog, Line
from aiagents.core.logs import context
from aiagents.core.stored_errors import to_store
from aiagents.core.valkey.clients import AWAY

logger = logging.getLogger(__name__)
Status = AgentRun.Status
event_log = EventLog("agents:run")
# Statuses that end a stream with an answer, the wait for a person included; the others end it with an error.
WELL = (Status.SUCCEEDED, Status.CANCELLED, Status.WAITING_APPROVAL)


def follow(run_id: UUID, after: int = -1) -> AsyncGenerator[Line, None]:
    """Yield the events after seq `after` of a run of another process; see `aiagents.core.live.follow`."""
    return live.follow(event_log, run_id, after, StoredRun(run_id))


class StoredRun(live.Stored):
    """The stored run. For viewers, a run that waits for a person has ended until it continues."""

    def __init__(self, run_id: UUID) -> None:
        self.id = run_id

    async def rewind(self, after: int) -> Line | None:
        status, works = await in_db(_state, self.id)
        if works:
            rewound = await recorded.short_of(event_log, self.id, after)
        elif status == Status.INTERRUPTED:  # its end may have the seq of an event that was lost
            rewound = await recorded.short_of(event_log, self.id, after + 1)
        else:
            rewound = None
        return None if rewound is None else rewind_line(rewound)

    async def ended(self) -> bool:
        return not (await in_db(_state, self.id))[1]

    async def lines(self, after: int) -> list[Line] | None:
        status, works = await in_db(_state, self.id)
        if works:
            return None
        found = await in_db(run_json.whole, self.id)
        if found is None:
            return [_deleted(after + 1)]
        if after < 0:
            return from_row(*found)
        if status == Status.INTERRUPTED and await self._log_is_gone():
            return [rewind_line(Rewound(-1, 0)), *from_row(*found)]  # no record is left of how much of what a viewer saw is still valid
        return [(after + 1, *write(ending(*found, None, found[0].request_id)))]

    async def is_end(self, line: Line) -> bool:
        return not waits(line) or (await in_db(_state, self.id))[0] == Status.WAITING_APPROVAL

    async def _log_is_gone(self) -> bool:
        try:
            return await event_log.end_of(self.id) < 0
        except AWAY:
            return False


def _state(run_id: UUID) -> tuple[str | None, bool]:
    """Return the run's status (None if it is deleted) and whether a process works on it."""
    run = AgentRun.objects.filter(id=run_id).only("status", "state").first()
    if run is None:
        return None, False
    return run.status, run.status == Status.RUNNING or (run.status == Status.WAITING_APPROVAL and not run.state)


def waits(line: Line) -> bool:
    """Whether this event ended a stream because the run waited for a person. The run may have continued since."""
    return line[1] == "message.end" and _WAITS in line[2]


# Quotes within a text are escaped, and no step has this status, so that only a run's own status looks like this.
_WAITS = b'"status":"%b"' % Status.WAITING_APPROVAL.value.encode()


def ending(row: AgentRun | None, shown: dict[str, Any], failure: AppError | None, request_id: str) -> TurnEnded | Failed:
    """Return the last event of a run: the run itself, or its error with the run so far."""
    if row is not None and row.status in WELL:
        return TurnEnded(shown)
    stored = row.error if row is not None else None
    return Failed(stored or to_store(failure or AppError(), request_id), {"run": shown or None})


def from_row(row: AgentRun, shown: dict[str, Any]) -> list[Line]:
    """Return the events of an ended run that has no log: its start, and its end with the whole run."""
    run_id = str(row.id)
    start = TurnStarted(None, None, run_id, row.model, "", {}, run_id=run_id)
    return [(0, *write(start)), (1, *write(ending(row, shown, None, row.request_id)))]


def _deleted(seq: int) -> Line:
    """Return the last event for a client whose run was deleted meanwhile."""
    return seq, *write(Failed(to_store(NotFound("This run was deleted."), context.request_id.get()), {"run": None}))


# --- for the sweeper and the erasure ------------------------------------------------------------


def close(run_id: UUID) -> None:
    """Append the end of a run whose process is gone to its log, if the log has none. Does nothing while Valkey is away."""
    try:
        lines = event_log.recorded(run_id)
        if not lines or (lines[-1][1] in TERMINAL and not waits(lines[-1])):
            return
        if (found := run_json.whole(run_id)) is not None:
            event_log.close(run_id, (len(lines), *write(ending(*found, None, found[0].request_id))))
    except AWAY:
        logger.warning("run_log_away", extra={"run_id": str(run_id)})


def forget(run_ids: Sequence[UUID]) -> None:
    """Delete the logs of erased runs. If Valkey is away, they stay until they expire."""
    try:
        event_log.delete_sync(run_ids)
    except AWAY:
        logger.warning("logs_not_deleted")


def own(user_id: UUID, run_id: UUID) -> AgentRun:
    """Return the user's own run. Raises NotFound for any other."""
    run = run_store.own(user_id).filter(id=run_id).first()
    if run is None:
        raise NotFound
    return run
