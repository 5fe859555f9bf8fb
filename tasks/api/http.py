"""The live events of a task: followed while they happen, resumed where a viewer left off.

An event's id is its run's number times a million plus its place in the run, so that one `Last-Event-ID` leads through
all runs of a task, without gap or repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from accounts.authentication import Principal
from agents.events import Rewound
from agents.recorded import rewind_line
from aiagents.core.db.calls import in_db
from aiagents.core.errors import InvalidRequest, NotFound
from aiagents.core.http import sse
from aiagents.core.http.endpoints import EventStream, Request
from aiagents.core.live.event_log import Line
from tasks.models import ENDED, Task, TaskRun
from tasks.runs import as_json as run_json
from tasks.runs import stored

PER_RUN = stored.PER_RUN
# Seconds between two looks for a run that has not begun yet.
LOOK_EVERY = 1.0
EVENTS = {
    "tags": ["tasks"],
    "parameters": [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "integer"}, "description": "go on after this event"},
        {"name": "run_id", "in": "query", "schema": {"type": "string", "format": "uuid"}, "description": "this run, not the newest"},
    ],
    "description": (
        "`task.status` (without id) says where the task stands. Then the newest run: `run.status` for each attempt and each wait, "
        "`message.start`, `route.fallback`, `content.delta`, `reasoning.delta`, `tool.call`, `tool.result`, and at its end `message.end` "
        "or `error`, with the run. With no run yet, or with the end of the last one already seen, the stream waits for the next. "
        "Where what stands of a run is shorter than what `Last-Event-ID` names, `message.rewind` comes right after `task.status`: `seq` is "
        "the id of the last event that stands, `length` the number of characters (Unicode code points) of the attempt's text up to it."
    ),
    "responses": {"200": {"description": "events", "content": {"text/event-stream": {"schema": sse.SCHEMA}}}},
}


async def events(request: Request) -> EventStream:
    """Follow a task's newest run live; from `Last-Event-ID` on where it is given."""
    assert isinstance(request.principal, Principal), "this endpoint is authenticated"
    after = _after(request.headers.get("last-event-id") or request.query.get("after"))
    task = await in_db(_task, request.principal, _id(request.path_args["id"]))
    run_id = _id(request.query["run_id"]) if "run_id" in request.query else None
    run = await in_db(_run, task, after, run_id)
    if run_id is not None and run is None:
        raise NotFound
    return EventStream(_told(task, run, after))


async def _told(task: Task, run: TaskRun | None, after: int) -> AsyncGenerator[bytes, None]:
    yield sse.event(*run_json.snapshot(task))
    while run is None:
        await asyncio.sleep(LOOK_EVERY)
        run = await in_db(_run, task, after, None)
        if run is None and not await in_db(_is_there, task.pk):
            yield _as_event(stored.deleted(max(after, 0) + 1))
            return
    number, seen = divmod(after, PER_RUN)
    if number != run.number:
        seen = -1
    if after >= 0 and number > run.number:  # a run that this task never had
        yield _as_event(stored.numbered(run, rewind_line(Rewound(-1, 0))))
    async with aclosing(stored.follow(run, seen)) as lines:
        async for line in lines:
            yield _as_event(stored.numbered(run, line))


def _as_event(line: Line) -> bytes:
    seq, kind, data = line
    return sse.event(kind, data, seq)


def _task(principal: Principal, task_id: UUID) -> Task:
    found = Task.objects.visible_to(principal.user).select_related("last_run").filter(pk=task_id).first()
    if found is None:
        raise NotFound
    return found


def _is_there(task_id: UUID) -> bool:
    return Task.objects.filter(pk=task_id, deleted_at=None).exists()


def _run(task: Task, after: int, run_id: UUID | None) -> TaskRun | None:
    """Return the run to stream: the requested one; that of the last event seen, if it continues; else the newest. None: the next."""
    runs = TaskRun.objects.filter(task=task)
    if run_id is not None:
        return runs.filter(pk=run_id).first()
    number, seq = divmod(after, PER_RUN)
    if after >= 0 and (last := runs.filter(number=number).first()) is not None:
        if last.status not in ENDED or seq != last.last_seq:
            return last
        newer = runs.filter(number__gt=number).order_by("number").first()
        fresh = Task.objects.filter(pk=task.pk, deleted_at=None, paused_at=None, next_run_at__isnull=False)
        return newer or (None if fresh.exists() else last)
    return runs.order_by("-number").first()


def _after(given: str | None) -> int:
    if not given:
        return -1
    if not given.isascii() or not given.isdecimal() or len(given) > 15:
        raise InvalidRequest("Last-Event-ID is the id of an event of this task.", param="Last-Event-ID")
    return int(given)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as exc:
        raise NotFound from exc
