"""The task runs of one event loop: any number at once, each claimed, watched, and ended exactly once in its row.

A heartbeat returns whether a run was cancelled, or taken by another worker because this one was silent for too long. Then
this worker writes nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings

from agents.events import Event, ReasoningDelta, RouteFallback, Started, TextDelta, ToolCall, ToolResult, TurnStarted, write
from agents.models import AgentRun
from agents.runs import service as runner
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError, NotAuthenticated, Unavailable
from aiagents.core.live import cancellation, liveness
from aiagents.core.live.broadcast import Broadcast
from aiagents.core.live.cancellation import Cause
from aiagents.core.live.liveness import persist_at_last
from aiagents.core.live.running import Running
from aiagents.core.logs import context
from aiagents.core.stored_errors import to_store
from aiagents.core.valkey.clients import AWAY
from tasks.models import ENDED, Status, TaskRun
from tasks.runs import as_json as run_json
from tasks.runs import prepare
from tasks.runs import store as task_runs
from tasks.runs.store import Claimed, Result
from tasks.runs.stored import event_log

logger = logging.getLogger(__name__)
# Seconds between two heartbeats, and above its limit before a run that hangs is cut off.
BEAT_SECONDS = 1.0
_HANGS = 30.0
# Why a run is interrupted from outside.
CANCELLED, LEAVING, LOST = "cancelled", "leaving", "lost"


class TimeLimit(AppError):
    type = code = "time_limit"
    status = 504
    message = "The run took longer than it may; what it had written is kept."


class CostLimit(AppError):
    type, code = "budget_exceeded", "run_cost_limit"
    status = 402
    message = "The run would have cost more than it may; what it had written is kept."


class Interrupted(Unavailable):
    code = "interrupted"
    message = "The process that ran this is gone."


LIMITS = {"max_seconds": TimeLimit, "max_cost": CostLimit}


@dataclass(slots=True)
class _Running:
    claimed: Claimed
    work: asyncio.Task[Result]
    why: str = ""

    def break_off(self, why: str) -> None:
        if not self.why:
            self.why = why
            cancellation.cancel(self.work, Cause.CANCELLED if why == CANCELLED else Cause.INTERRUPTED)


@dataclass(slots=True, eq=False)
class _Events:
    """What viewers see of a run: the events of all its attempts in this process, until the log has them."""

    broadcast: Broadcast

    def take(self, claimed: Claimed, event: Event) -> None:
        match event:
            case Started():
                run_id, task_id = str(claimed.run.id), str(claimed.task.id)
                started = TurnStarted(None, None, run_id, event.model, event.provider, event.route, run_id=run_id, task_id=task_id)
                self.broadcast.add(*write(started))
            case TextDelta() | ReasoningDelta() | ToolCall() | ToolResult() | RouteFallback():
                self.broadcast.add(*write(event))


def _exists(run_id: UUID) -> bool:
    return TaskRun.objects.filter(pk=run_id).exists()


class Crew:
    """The runs of one event loop. `name` is the worker's name in their rows."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
        self.running: dict[UUID, _Running] = {}
        self.events: Running[_Events] = Running(event_log, _exists)
        self._ends: set[asyncio.Task[Any]] = set()
        self._beating: asyncio.Task[None] | None = None

    async def run(self, run_id: UUID) -> None:
        """Make one attempt of a queued run and write its end. Does nothing if another worker has the run."""
        claimed = await in_db(task_runs.claim, run_id, self.name)
        if claimed is None:
            return
        run = claimed.run
        context.task_id.set(str(run.task_id))
        context.user_id.set(str(run.user_id))
        request_id = context.accept_request_id(run.request_id or context.request_id.get())
        events = await self._events_of(run)
        events.broadcast.add(*run_json.event(run))
        running = self.running[run_id] = _Running(claimed, asyncio.create_task(self._attempt(claimed, request_id, events)))
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat(), name="task heartbeat")
        if (me := asyncio.current_task()) is not None:
            self._ends.add(me)
            me.add_done_callback(self._ends.discard)
        try:
            result = await self._result(running)
            ended = await self._store(running, result, events.broadcast.last + 1)
            if ended is not None:
                events.broadcast.add(*run_json.event(ended))
        finally:
            self.running.pop(run_id, None)
            self.events.retire(events)
        if ended is not None:
            name = "task_run_ended" if ended.status in ENDED else "task_run_waits"
            logger.info(name, extra={"run_id": str(run_id), "status": ended.status, "attempt": ended.attempt})

    async def leave(self, seconds: float) -> None:
        """Wait `seconds` for the runs to end. Then hand back those that may be repeated, and fail the others."""
        if works := {one.work for one in self.running.values()}:
            await asyncio.wait(works, timeout=seconds)
        for running in list(self.running.values()):
            running.break_off(LEAVING)
        if ends := set(self._ends):
            await asyncio.wait(ends, timeout=5.0)
        await self.events.settled(2.0)

    async def _events_of(self, run: TaskRun) -> _Events:
        """Return the run's events, which continue those of its earlier attempts."""
        if (found := self.events.work.get(run.id)) is not None:  # of an attempt whose log is not written yet
            events = self.events.work[run.id] = _Events(found.broadcast)
            return events
        last = run.last_seq
        if run.claim > 1:  # a worker that died may have sent more events than the row has
            try:
                last = max(last, await event_log.end_of(run.id))
            except AWAY:
                logger.warning("run_log_away", extra={"run_id": str(run.id)})
        events = self.events.work[run.id] = _Events(Broadcast(run.id, self.events.writer, first=last + 1, keep=False))
        return events

    # --- the attempt ----------------------------------------------------------------------------

    async def _result(self, running: _Running) -> Result:
        try:
            return await running.work
        except asyncio.CancelledError:
            if not running.why and (me := asyncio.current_task()) is not None and me.cancelling():
                running.break_off(LEAVING)  # the loop itself is being ended
                raise
            return await persist_at_last(_broken_off, running.claimed, running.why)

    async def _attempt(self, claimed: Claimed, request_id: str, events: _Events) -> Result:
        on_event = partial(events.take, claimed)
        row: AgentRun | None = None
        try:
            prepared = await in_db(prepare.prepare, claimed)
            async with asyncio.timeout(prepared.definition.max_seconds + _HANGS):
                if claimed.goes_on:
                    row = await runner.resume_to_end(claimed.attempt.agent_run_id, on_event=on_event)
                else:
                    row = await runner.run_to_end(
                        prepared.principal, prepared.definition, prepared.input, surface="worker", request_id=request_id,
                        task_id=claimed.task.id, run_id=claimed.attempt.agent_run_id, on_event=on_event,
                        max_cost_usd=prepared.max_cost_usd,
                    )  # fmt: skip
        except TimeoutError:
            return await persist_at_last(_failed, claimed, TimeLimit())
        except AppError as exc:
            return await persist_at_last(_failed, claimed, exc)
        except Exception:
            logger.exception("task_run_failed", extra={"run_id": str(claimed.run.id)})
            return await persist_at_last(_failed, claimed, AppError())
        return await persist_at_last(_by_agent_run, claimed, row)

    async def _store(self, running: _Running, result: Result, last_seq: int) -> TaskRun | None:
        if running.why == LOST:
            return None
        return await persist_at_last(task_runs.finish, running.claimed.token, result, last_seq)

    # --- the heartbeat --------------------------------------------------------------------------

    async def _beat(self) -> None:
        while self.running:
            await asyncio.sleep(BEAT_SECONDS)
            living = {run_id: running.claimed.token for run_id, running in self.running.items()}
            work = in_db(task_runs.beat, self.name, list(living.values()))
            _, answers = await liveness.beat(work, "tasks", living, settings.TASK_SILENCE_SECONDS)
            for run_id, answer in (answers or {}).items():
                running = self.running.get(run_id)
                if running is None or running.claimed.token != living[run_id]:
                    continue
                if not answer.mine:
                    running.break_off(LOST)
                elif answer.cancel:
                    running.break_off(CANCELLED)


# --- how it ended: database functions ------------------------------------------------------------


def _by_agent_run(claimed: Claimed, row: AgentRun) -> Result:
    """Return the result by the agent run's own row."""
    result = _of(row)
    match row.status:
        case AgentRun.Status.SUCCEEDED if row.finish_reason in LIMITS:
            result.error = to_store(LIMITS[row.finish_reason](), claimed.run.request_id)
        case AgentRun.Status.SUCCEEDED:
            result.status = Status.SUCCEEDED
        case AgentRun.Status.WAITING_APPROVAL:
            result.status = Status.WAITING_APPROVAL
        case AgentRun.Status.CANCELLED:
            result.status = Status.CANCELLED
        case _:
            error = row.error or to_store(Interrupted(), claimed.run.request_id)
            # If it is still open, the database was away too long; the sweeper ends it as interrupted.
            passes = bool(error.get("retryable")) or row.status in (*AgentRun.OPEN, AgentRun.Status.INTERRUPTED)
            if error.get("type") == NotAuthenticated.type:
                # The owner's session ended. A run needs none, unless the owner's account has ended.
                gone = prepare.refusal(claimed)
                passes, error = gone is None, error if gone is None else to_store(gone, claimed.run.request_id)
            result.error, result.retry_after = error, error.get("retry_after")
            result.repeatable = passes and prepare.may_repeat(row)
    return result


def _failed(claimed: Claimed, error: AppError) -> Result:
    """Return the result by an error before or after the agent run."""
    row = AgentRun.objects.filter(pk=claimed.attempt.agent_run_id).first()
    result = _of(row)
    result.error = to_store(error, claimed.run.request_id)
    result.repeatable, result.retry_after = error.retryable and prepare.may_repeat(row), error.retry_after
    return result


def _broken_off(claimed: Claimed, why: str) -> Result:
    row = AgentRun.objects.filter(pk=claimed.attempt.agent_run_id).first()
    result = _of(row)
    if why == CANCELLED:
        result.status, result.finish_reason = Status.CANCELLED, "cancelled"
        return result
    result.error = to_store(Interrupted("The worker that ran this was shut down."), claimed.run.request_id)
    result.handed_back, result.repeatable = True, prepare.may_repeat(row)
    return result


def _of(row: AgentRun | None) -> Result:
    if row is None:
        return Result(Status.FAILED)
    return Result(Status.FAILED, row.output, row.finish_reason, row.model, row.simulated)
