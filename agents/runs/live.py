"""Runs started over HTTP: each is a task of its own in the process that got the request, with any number of viewers.

A run goes on when its viewers leave. One that waits for a person is parked; the worker that goes on with it continues its event log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from agents.events import Event, Failed, RouteFallback, Settled, Started, Stopped, TurnEnded, TurnEvent, TurnStarted, write
from agents.models import AgentRun
from agents.recorded import add_up, rewind_line
from agents.runs import as_json as run_json
from agents.runs import ends, stored
from agents.runs import service as runner
from agents.runs import store as run_store
from agents.runs.loop import RunPaused
from agents.runs.stored import ending, event_log
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError
from aiagents.core.live import cancellation, liveness
from aiagents.core.live.broadcast import Broadcast
from aiagents.core.live.cancellation import Cause
from aiagents.core.live.event_log import TERMINAL, Line
from aiagents.core.live.liveness import persist
from aiagents.core.live.per_loop import PerLoop
from aiagents.core.live.running import Running
from aiagents.core.stored_errors import to_store
from aiagents.core.valkey.clients import AWAY

logger = logging.getLogger(__name__)
# Bytes of one run's events that are kept for its viewers. A run with more goes on; its stream ends with StreamTooLong.
MOST_BYTES = 8 * 1024 * 1024
# Seconds that a worker, or a viewer in the same process, waits until the log of a parked run is written.
_LOG_WAITS = 1.0


class StreamTooLong(AppError):
    """Ends the stream of a run that goes on; `details.read` is where the whole run is read."""

    code, status = "stream_too_long", 503

    def __init__(self, run_id: UUID) -> None:
        read = f"/api/v1/agents/runs/{run_id}"
        super().__init__(
            f"This stream ends after {MOST_BYTES} bytes of events. The run goes on and is stored: read it with GET {read}.",
            details={"run_id": str(run_id), "read": read},
        )


class RunEvents:
    """Turns the runner's events into the numbered events that viewers see. `lines`: those that an earlier process wrote."""

    def __init__(self, run_id: UUID, request_id: str, lines: Sequence[Line] = ()) -> None:
        self.id, self.request_id = run_id, request_id
        self.broadcast = Broadcast(run_id, _runs.here().writer, lines)
        self._bytes = sum(len(data) for _, _, data in lines)
        self._started = bool(lines)
        # The stream was ended for its length; the run goes on.
        self._cut = bool(lines) and lines[-1][1] in TERMINAL and not stored.waits(lines[-1])
        self._held_back: list[RouteFallback] = []

    def take(self, event: Event) -> None:
        match event:
            case Started() if not self._started:
                self._start(event)
            case RouteFallback() if not self._started:
                self._held_back.append(event)
            case Started() | Settled() | Stopped():
                return
            case _:
                self._add(event)  # type: ignore[arg-type]  # the events of calls alone were taken out above

    def end(self, row: AgentRun | None, shown: dict[str, Any], failure: AppError | None) -> None:
        if self._cut:
            return
        if not self._started:
            self._start(None)
        self.broadcast.end(*write(ending(row, shown, failure, self.request_id)))

    def _start(self, event: Started | None) -> None:
        self._started = True
        run_id = str(self.id)
        model, provider, route = (event.model, event.provider, event.route) if event else ("", "", {})
        self._add(TurnStarted(None, None, run_id, model, provider, route, run_id=run_id))
        for fallback in self._held_back:
            self._add(fallback)

    def _add(self, event: TurnEvent) -> None:
        if self._cut:
            return
        kind, data = write(event)
        self._bytes += len(data)
        if self._bytes <= MOST_BYTES:
            self.broadcast.add(kind, data)
            return
        self._cut = True
        self.broadcast.end(*write(Failed(to_store(StreamTooLong(self.id), self.request_id), {"run": None})))


class LiveRun:
    """One run. Once `ended`, `row` and `shown` hold it as it ended or was parked; `failure` is set if it failed."""

    def __init__(self, run_id: UUID, source: AsyncGenerator[Event, None], request_id: str) -> None:
        self.id, self.request_id = run_id, request_id
        self.events = RunEvents(run_id, request_id)
        self.row: AgentRun | None = None
        self.shown: dict[str, Any] = {}
        self.failure: AppError | None = None
        self.ended = asyncio.Event()
        self._source = source
        self.task = asyncio.create_task(self._run(), name=f"run {run_id}")

    @property
    def broadcast(self) -> Broadcast:
        return self.events.broadcast

    def view(self, after: int = -1) -> AsyncGenerator[Line, None]:
        """Yield the events after seq `after` as they happen; the last is `message.end` or `error`.

        A stream that became too long ends with an `error` although the run goes on.
        """
        return self.events.broadcast.view(after)

    async def finished(self) -> TurnEnded | Failed:
        """Return the event that ends the run."""
        await self.ended.wait()
        return ending(self.row, self.shown, self.failure, self.request_id)

    def interrupt(self) -> None:
        """End the run because the process ends."""
        cancellation.cancel(self.task, Cause.INTERRUPTED)

    async def _run(self) -> None:
        try:
            await self._follow()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            self.failure = AppError("The server was shut down while it ran.", code="interrupted")
        except Exception as exc:
            if not isinstance(exc, AppError):
                logger.exception("run_failed", extra={"run_id": str(self.id)})
            self.failure = exc if isinstance(exc, AppError) else AppError()
        try:
            await self._end()
        finally:
            self.ended.set()
            _runs.here().retire(self)

    async def _follow(self) -> None:
        try:
            async with aclosing(self._source) as events:
                async for event in events:
                    self.events.take(event)
        except RunPaused:
            return

    async def _end(self) -> None:
        await ends.written(self.id)
        try:
            found = await persist(run_json.whole, self.id)
            erased = found is None and self.failure is None
        except AppError as exc:
            self.failure, found, erased = self.failure or exc, None, False
        if found is not None:
            self.row, self.shown = found
        self.events.end(self.row, self.shown, self.failure)
        if erased:
            _runs.here().forget([self.id])


def _exists(run_id: UUID) -> bool:
    return AgentRun.objects.filter(id=run_id).exists()


_runs = PerLoop(lambda: Running[LiveRun](event_log, _exists))


def start(run_id: UUID, source: AsyncGenerator[Event, None], request_id: str) -> LiveRun:
    """Start the run in a task of its own and return it."""
    live = _runs.here().work[run_id] = LiveRun(run_id, source, request_id)
    return live


def find(run_id: UUID) -> LiveRun | None:
    """Return a run of this process that has not ended, or None."""
    live = _runs.here().work.get(run_id)
    return None if live is None or live.ended.is_set() else live


def count() -> int:
    """Return the number of runs of this loop that have not ended or whose log is not complete."""
    return len(_runs.here().work)


async def attach(user_id: UUID, run_id: UUID, after: int = -1) -> AsyncGenerator[Line, None]:
    """Yield the events of the user's own run after seq `after`, from any process. Raises NotFound before the first one.

    While the run goes on and TURN_LOG_TTL_SECONDS after, every event once and in order. Later, what the row has (stored.py).
    The last is always the terminal event. A viewer whose `after` is beyond the stored events gets `message.rewind` first.
    """
    await in_db(stored.own, user_id, run_id)
    broadcast = live.events.broadcast if (live := _runs.here().work.get(run_id)) is not None else None
    if broadcast is None or await _goes_on_elsewhere(broadcast):
        return stored.follow(run_id, after)
    return broadcast.view(after) if broadcast.ended or after < len(broadcast.lines) else _rewound(broadcast)


async def _goes_on_elsewhere(broadcast: Broadcast) -> bool:
    """Whether the run was parked here and its log is written, so that another process may have gone on with it."""
    if not (broadcast.ended and stored.waits(broadcast.lines[-1])):
        return False
    return await broadcast.log_caught_up(_LOG_WAITS)


async def _rewound(broadcast: Broadcast) -> AsyncGenerator[Line, None]:
    rewound = (await asyncio.to_thread(add_up, list(broadcast.lines))).so_far
    yield rewind_line(rewound)
    async with aclosing(broadcast.view(rewound.seq)) as lines:
        async for line in lines:
            yield line


async def drain(seconds: float) -> None:
    """Wait `seconds` for the runs to end, then interrupt the others. Their text is kept and their cost charged."""
    here = _runs.here()
    tasks = {live.task for live in here.work.values() if not live.ended.is_set()}
    if tasks:
        _, running = await asyncio.wait(tasks, timeout=seconds - min(2.0, seconds / 4))
        for live in list(here.work.values()):
            live.interrupt()
        if running:
            await asyncio.wait(running, timeout=3.0)
    await here.settled(1.0)


async def resume(run_id: UUID) -> None:
    """Continue a parked run in this process, to its end or its next wait. It continues its event log, if it has one."""
    lines, row = await _log_so_far(run_id), await in_db(run_store.to_show, run_id)
    if not lines or row is None:
        await runner.resume_to_end(run_id)
        return
    events = RunEvents(run_id, row.request_id, lines)
    row = await runner.resume_to_end(run_id, on_event=events.take)
    if events.broadcast.last < len(lines):  # another process has taken it up
        return
    if (found := await persist(run_json.whole, row.id)) is not None:
        events.end(*found, None)
    await events.broadcast.log_caught_up(liveness.LOG_PATIENCE_SECONDS)
    _runs.here().writer.release(events.broadcast)


async def _log_so_far(run_id: UUID) -> list[Line]:
    """Return the events of a parked run, once the process that parked it has written them all."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LOG_WAITS
    try:
        while True:
            lines = await asyncio.to_thread(event_log.recorded, run_id)
            if not lines or lines[-1][1] in TERMINAL or loop.time() >= deadline:
                return lines
            await asyncio.sleep(0.05)
    except AWAY:
        return []
