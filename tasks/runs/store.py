"""A run in the database, from queued to ended. Every step is one guarded statement, so that one of two racing workers wins.

The guard of a running run is its `claim`. The worker that takes the run raises it, and each of its writes carries it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from accounts.models import User
from agents.models import AgentRun
from agents.runs import store as run_store
from aiagents.core import storage
from aiagents.core.errors import AppError, Conflict, NotFound
from aiagents.core.ids import uuid7
from aiagents.core.live import news
from aiagents.core.stored_errors import to_store
from billing.models import UsageLog
from tasks import webhooks
from tasks.models import ENDED, OPEN, Status, Task, TaskAttempt, TaskRun
from tasks.runs import queue, retries, stored

# The usage log has the time of admission, which is never before the attempt began, except by two machines' clocks.
_SKEW = timedelta(seconds=5)


class Busy(Conflict):
    code = "run_in_progress"
    message = "A run of this task is open; one task runs one at a time."


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that only this worker may write. `goes_on`: its attempt waited for approval and continues."""

    run: TaskRun
    task: Task
    attempt: TaskAttempt
    goes_on: bool

    @property
    def token(self) -> tuple[UUID, int]:
        return self.run.id, self.run.claim


@dataclass(slots=True)
class Result:
    """How an attempt ended. `status` succeeded, failed, cancelled or waiting_approval."""

    status: str
    output: str = ""
    finish_reason: str = ""
    model: str = ""
    simulated: bool = False
    error: dict[str, Any] | None = None
    # Of a failure: it may pass, and a retry repeats nothing that must not be repeated.
    repeatable: bool = False
    # Ended because the worker stopped: retried at once, and not counted.
    handed_back: bool = False
    retry_after: float | None = None


# --- into the queue -----------------------------------------------------------------------------


def open_run(
    task: Task, trigger: str, *, key_id: UUID | None = None, request_id: str = "", scheduled_for: datetime | None = None,
    variables: dict[str, Any] | None = None, refused: AppError | None = None,
) -> TaskRun:  # fmt: skip
    """Create a queued run of the task and send it to the workers at commit. `refused`: it fails at once with that error.

    Raises Busy if another run is open, NotFound for a deleted task, StorageFull while the disk is full.
    """
    if trigger != TaskRun.Trigger.SCHEDULE:
        storage.refuse_if_low()
    with transaction.atomic():
        # The task's row is the lock under which runs are numbered and counted as open.
        if not Task.objects.filter(pk=task.pk, deleted_at=None).update(runs_count=F("runs_count") + 1):
            raise NotFound("This task was deleted.")
        if TaskRun.objects.filter(task=task, status__in=OPEN).exists():
            raise Busy
        number = Task.objects.values_list("runs_count", flat=True).get(pk=task.pk)
        run = TaskRun.objects.create(
            task=task, user_id=task.user_id, api_key_id=key_id, number=number, trigger=trigger, request_id=request_id,
            scheduled_for=scheduled_for, variables=task.variables | (variables or {}),
        )  # fmt: skip
        Task.objects.filter(pk=task.pk).update(last_run=run)
        news.send(task.user_id, news.Kind.TASK_CHANGED, task.pk)
        if refused is not None:
            _end_unstarted(run, Status.FAILED, refused)
        else:
            queue.send(run.id)
    return run


def requeue(run_id: UUID, *, was: str) -> bool:
    """Put a run that waits back into the queue, once."""
    with transaction.atomic():
        waiting = TaskRun.objects.filter(pk=run_id, status=was, cancel_asked_at=None)
        if not waiting.update(status=Status.QUEUED, queued_at=Now(), not_before=None):
            return False
        queue.send(run_id)
        _send_news(run_id)
    return True


def _send_news(run_id: UUID) -> None:
    user_id, task_id = TaskRun.objects.values_list("user_id", "task_id").get(pk=run_id)
    news.send(user_id, news.Kind.TASK_CHANGED, task_id)


# --- in a worker --------------------------------------------------------------------------------


def claim(run_id: UUID, worker: str) -> Claimed | None:
    """Claim the queued run for this worker; None if another worker has it or its user has too many running.

    While the disk is full the run stays queued: beat sends it again."""
    if storage.low():
        return None
    with transaction.atomic():
        found = TaskRun.objects.select_related("task").filter(pk=run_id, status=Status.QUEUED).first()
        if found is None:
            return None
        User.objects.hold(found.user_id)
        if TaskRun.objects.filter(user_id=found.user_id, status=Status.RUNNING).count() >= settings.TASK_RUNS_PER_USER:
            return None
        parked = TaskAttempt.objects.filter(run=found, number=found.attempt, status=Status.WAITING_APPROVAL).first()
        mine = TaskRun.objects.filter(pk=run_id, status=Status.QUEUED, claim=found.claim)
        changes: dict[str, Any] = {"attempt": F("attempt") + (0 if parked else 1), "claim": F("claim") + 1}
        if not mine.update(
            status=Status.RUNNING, worker=worker, heartbeat_at=Now(), started_at=Coalesce("started_at", Now()), not_before=None, **changes
        ):
            return None
        run = TaskRun.objects.select_related("task").get(pk=run_id)
        news.send(run.user_id, news.Kind.TASK_CHANGED, run.task_id)
        if parked is not None:
            TaskAttempt.objects.filter(pk=parked.pk).update(status=Status.RUNNING, worker=worker)
            return Claimed(run, run.task, parked, goes_on=True)
        attempt = TaskAttempt.objects.create(run=run, number=run.attempt, agent_run_id=uuid7(), worker=worker)
    return Claimed(run, run.task, attempt, goes_on=False)


@dataclass(frozen=True, slots=True)
class Word:
    """What a heartbeat returns about a run of the worker."""

    mine: bool
    cancel: bool


def beat(worker: str, tokens: Iterable[tuple[UUID, int]]) -> dict[UUID, Word]:
    """Write the heartbeat of this worker's runs; return what it must know about each of them."""
    claims = dict(tokens)
    TaskRun.objects.filter(worker=worker, status=Status.RUNNING).update(heartbeat_at=Now())
    rows = TaskRun.objects.filter(pk__in=claims).values_list("pk", "status", "claim", "cancel_asked_at")
    found = {pk: Word(status == Status.RUNNING and number == claims[pk], asked is not None) for pk, status, number, asked in rows}
    return {pk: found.get(pk, Word(False, False)) for pk in claims}


def note_input(token: tuple[UUID, int], text: str) -> None:
    """Store the input of the run with its variables filled."""
    _mine(token).update(input=text)


def finish(token: tuple[UUID, int], result: Result, last_seq: int) -> TaskRun | None:
    """Write the end of the attempt: the run's end, its wait, or its next attempt. None: this worker lost the run."""
    with transaction.atomic():
        run = _mine(token).select_related("task").select_for_update(of=("self",)).first()
        if run is None:
            return None
        values: dict[str, Any] = {
            "output": result.output, "finish_reason": result.finish_reason, "error": result.error, "model": result.model or run.model,
            "simulated": result.simulated, "last_seq": last_seq,
        }  # fmt: skip
        values |= sums(run)
        # A worker that stops hands back what may be repeated: that attempt counts as cancelled, not as failed.
        attempt_status = Status.CANCELLED if result.handed_back and result.repeatable else result.status
        ended = {"ended_at": Now()} if attempt_status in ENDED else {}
        TaskAttempt.objects.filter(run=run, number=run.attempt).update(status=attempt_status, error=result.error, **ended)
        values |= _next(run, result, values["cost_usd"]) or {"status": result.status}
        if values["status"] in ENDED:
            values["ended_at"] = Now()
        if not _mine(token).update(**values):
            return None
        run = TaskRun.objects.select_related("task").get(pk=run.pk)
        if run.status in ENDED:
            webhooks.announce(run)
        elif run.status == Status.QUEUED:
            queue.send(run.id)
        _let_next_in(run.user_id)
        news.send(run.user_id, news.Kind.TASK_CHANGED, run.task_id)
    return run


def _next(run: TaskRun, result: Result, spent: Decimal) -> dict[str, Any] | None:
    """Return the values of the next attempt, if there is one."""
    task = run.task
    if result.status != Status.FAILED or not result.repeatable or run.cancel_asked_at is not None or task.deleted_at is not None:
        return None
    if result.handed_back:
        return {"status": Status.QUEUED, "queued_at": Now()}
    failed = TaskAttempt.objects.filter(run=run, status=Status.FAILED).count()
    if failed > task.max_retries or (task.max_cost_usd is not None and spent >= task.max_cost_usd):
        return None
    seconds = retries.delay(failed, task.retry_seconds, result.retry_after)
    return {"status": Status.SCHEDULED, "not_before": Now() + timedelta(seconds=seconds)}


def _let_next_in(user_id: UUID) -> None:
    """Send a run again that had to wait because its user had too many running: one has just ended."""
    if TaskRun.objects.filter(user_id=user_id, status=Status.RUNNING).count() < settings.TASK_RUNS_PER_USER - 1:
        return
    waiting = TaskRun.objects.filter(user_id=user_id, status=Status.QUEUED).order_by("queued_at").values_list("pk", flat=True).first()
    if waiting is not None:
        queue.send(waiting)


def _mine(token: tuple[UUID, int]) -> Any:
    return TaskRun.objects.filter(pk=token[0], claim=token[1], status=Status.RUNNING)


# --- money --------------------------------------------------------------------------------------


def sums(run: TaskRun) -> dict[str, Any]:
    """Return what all attempts used and cost, by the usage log; the group of an agent run's calls is its id."""
    groups = list(TaskAttempt.objects.filter(run=run).values_list("agent_run_id", flat=True))
    calls = UsageLog.objects.filter(user_id=run.user_id, created_at__gte=run.created_at - _SKEW, group_id__in=groups)
    rows = list(calls.values_list("input_tokens", "output_tokens", "cost_usd"))
    return {
        "input_tokens": sum(row[0] for row in rows),
        "output_tokens": sum(row[1] for row in rows),
        "cost_usd": sum((row[2] for row in rows), Decimal(0)),
    }


# --- by people ----------------------------------------------------------------------------------


def cancel(run_id: UUID) -> TaskRun:
    """End an open run. For a running one it leaves a request, and its worker ends it within seconds. An ended one stays as it is."""
    with transaction.atomic():
        run = TaskRun.objects.select_related("task").select_for_update(of=("self",)).get(pk=run_id)
        if run.status == Status.RUNNING:
            TaskRun.objects.filter(pk=run_id, cancel_asked_at=None).update(cancel_asked_at=Now())
            news.send(run.user_id, news.Kind.TASK_CHANGED, run.task_id)
        elif run.status in OPEN:
            _end_unstarted(run, Status.CANCELLED, None)
        else:
            return run
    run.refresh_from_db()
    return run


def _end_unstarted(run: TaskRun, status: str, error: AppError | None) -> None:
    """End a run that no worker holds, in the caller's transaction."""
    error_json = None if error is None else to_store(error, run.request_id)
    values = sums(run) | {"status": status, "error": error_json, "ended_at": Now(), "last_seq": run.last_seq + 1}
    TaskRun.objects.filter(pk=run.pk, status=run.status).update(**values)
    for attempt in TaskAttempt.objects.filter(run=run, status=Status.WAITING_APPROVAL):
        TaskAttempt.objects.filter(pk=attempt.pk).update(status=status, error=error_json, ended_at=Now())
        run_store.end(attempt.agent_run_id, AgentRun.Status.CANCELLED, finish_reason="cancelled")
    run.refresh_from_db()
    news.send(run.user_id, news.Kind.TASK_CHANGED, run.task_id)
    stored.close(run)
    webhooks.announce(run)
