"""The periodic sweep: runs of dead workers, runs whose decision got lost, and runs that were never decided."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from agents.models import AgentRun, AgentStep
from agents.recorded import Recorded, add_up
from agents.runs import store as run_store
from aiagents.core.db.rotation import Rotation
from aiagents.core.live import outage_heartbeat
from aiagents.core.metrics import counters as metrics
from aiagents.core.stored_errors import to_store
from aiagents.core.valkey.clients import AWAY
from tasks.models import ENDED, Status, TaskAttempt, TaskRun
from tasks.runs import prepare, stored
from tasks.runs import store as task_runs
from tasks.runs.execute import Interrupted
from tasks.runs.store import Result

logger = logging.getLogger(__name__)
_MOST = 500
# For so many seconds after a run's end its late charges are looked for.
_LATE_SECONDS = 3600


def sweep() -> int:
    """Return how many runs were ended, passed on or corrected."""
    return _dead_workers() + _decided() + _never_decided() + _late_costs()


def silent() -> QuerySet[TaskRun]:
    """Return the running runs without a recent heartbeat."""
    return TaskRun.objects.filter(status=Status.RUNNING, heartbeat_at__lt=Now() - timedelta(seconds=settings.TASK_SILENCE_SECONDS))


def _dead_workers() -> int:
    found = list(silent().order_by("heartbeat_at")[:_MOST])
    living = outage_heartbeat.among("tasks", (run.id for run in found))  # their workers only cannot reach the database
    return sum(_take_from(run) for run in found if run.id not in living)


def _take_from(run: TaskRun) -> bool:
    """End the attempt of a worker that is gone. A run that may be repeated gets another attempt; others fail with the reason.

    The claim is raised first, so a worker that was only stopped (SIGSTOP) finds its run taken and writes nothing.
    """
    token = (run.id, run.claim + 1)
    if not silent().filter(pk=run.id, claim=run.claim).update(claim=token[1]):
        return False
    attempt = TaskAttempt.objects.filter(run=run, number=run.attempt).first()
    row = AgentRun.objects.filter(pk=attempt.agent_run_id).first() if attempt else None
    if row is not None:
        error = to_store(Interrupted(), run.request_id)
        run_store.end(row.id, AgentRun.Status.INTERRUPTED, finish_reason="error", error=error | {"status": 503, "retryable": True})
        row.refresh_from_db()
    recorded = _recorded(run)
    result = Result(
        Status.FAILED, max(row.output if row else "", recorded.content, key=len), "error", row.model if row else recorded.model,
        row.simulated if row else False, to_store(Interrupted(), run.request_id), repeatable=prepare.may_repeat(row),
    )  # fmt: skip
    if run.cancel_asked_at is not None:
        result.status, result.error = Status.CANCELLED, None
    ended = task_runs.finish(token, result, max(recorded.last, run.last_seq) + 1)
    if ended is not None:
        stored.close(ended)
        metrics.INTERRUPTED.inc()
    return ended is not None


def _recorded(run: TaskRun) -> Recorded:
    try:
        return add_up(stored.event_log.recorded(run.id))
    except AWAY:
        return Recorded()


def _decided() -> int:
    """Continue runs whose calls are all decided: the announcement was lost, or came while they were being parked."""
    undecided = AgentStep.objects.filter(run=OuterRef("attempts__agent_run"), status=AgentStep.Status.WAITING, decided_at=None)
    waiting = TaskRun.objects.filter(status=Status.WAITING_APPROVAL, attempts__status=Status.WAITING_APPROVAL)
    decided = waiting.filter(~Exists(undecided)).values_list("pk", flat=True)
    return sum(task_runs.requeue(run_id, was=Status.WAITING_APPROVAL) for run_id in list(decided[:_MOST]))


def _never_decided() -> int:
    """End runs whose agent run ended while they waited: no decision came in time, or it was cancelled there."""
    over = AgentRun.objects.filter(pk=OuterRef("attempts__agent_run_id")).exclude(status__in=AgentRun.OPEN)
    waiting = TaskRun.objects.filter(status=Status.WAITING_APPROVAL, attempts__status=Status.WAITING_APPROVAL)
    found = list(waiting.filter(Exists(over)).values_list("pk", flat=True)[:_MOST])
    for run_id in found:
        task_runs.cancel(run_id)
    return len(found)


def _late_costs() -> int:
    """Add the cost of calls that were settled after the end of their run (holds of dead processes); return how many changed."""
    recent = UUID(int=int((time.time() - _LATE_SECONDS) * 1000) << 80)  # ids begin with their time
    late = 0
    ended = TaskRun.objects.filter(status__in=ENDED).exclude(status=Status.SUCCEEDED, attempt=1)
    lately = Exists(TaskAttempt.objects.filter(run=OuterRef("pk"), pk__gte=recent))
    for run in _recent.page(ended.filter(lately), _RECENT_MOST) + _older.page(ended.filter(~lately), _OLDER_MOST):
        found = task_runs.sums(run)
        if any(getattr(run, name) != value for name, value in found.items()):
            late += TaskRun.objects.filter(pk=run.pk).update(**found)
    return late


# Runs that one sweep looks at: with an attempt of the last hour, and all others.
_RECENT_MOST, _OLDER_MOST = 300, 30
_recent: Rotation[TaskRun] = Rotation()
_older: Rotation[TaskRun] = Rotation()
