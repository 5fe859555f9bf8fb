"""Deletion of tasks: hidden at once, erased from the database after DELETED_RETENTION_DAYS, or at once on request.

Erasing includes agent runs and their steps, event logs in Valkey, webhook deliveries and stored idempotent responses.
The usage log stays: it contains ids and costs, no content.
"""

from __future__ import annotations

import enum
import logging
import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from agents.models import AgentRun
from agents.runs import erasing as run_erasing
from aiagents.core import idempotency
from aiagents.core.live import news
from aiagents.core.valkey.clients import AWAY
from tasks.models import OPEN, Task, TaskAttempt, TaskRun, WebhookDelivery
from tasks.runs import store as task_runs
from tasks.runs.stored import event_log

logger = logging.getLogger(__name__)
# The most tasks of one pass of the sweep, the most runs of one transaction, and the seconds that a pass may take.
_MOST, _AT_ONCE, _PASS_SECONDS = 200, 200, 40.0
# Seconds that a deletion `now` waits for the open run to end, and between two checks.
STOP_WAITS, _LOOK_EVERY = 5.0, 0.1
# After this time, a process that was starting an agent run during the deletion has written it.
_LATE_WRITES = timedelta(minutes=2)
# The age in seconds of agent runs that the sweep checks for a missing task.
_STRAYS_SECONDS = 3600


class _Remaining(enum.Enum):
    """What remains after a transaction of `erase`: nothing, more rows, or a run that must end first."""

    NOTHING = enum.auto()
    MORE = enum.auto()
    OPEN_RUN = enum.auto()


def hide(task: Task) -> None:
    """Hide the task with its runs and agent runs, and cancel its open run."""
    with transaction.atomic():
        Task.objects.filter(pk=task.pk, deleted_at=None).update(deleted_at=Now(), next_run_at=None, webhook_secret_encrypted="")
        State = WebhookDelivery.State
        unsent = WebhookDelivery.objects.filter(task_id=task.pk, state=State.PENDING)
        unsent.update(state=State.FAILED, error="the task was deleted")
        _stop(task.pk)
        run_erasing.hide(run_erasing.of_task(task.pk))
        news.send(task.user_id, news.Kind.TASK_CHANGED, task.pk)
    _withdraw_answers(task)


def erase_now(task: Task) -> bool:
    """Hide and erase the task. Returns False if its open run did not end in time; the sweep erases it in minutes."""
    hide(task)
    Task.objects.filter(pk=task.pk).update(erase_at=Now())
    deadline = time.monotonic() + STOP_WAITS
    try:
        while not erase(task.pk, deadline):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY)
    except AWAY:
        logger.warning("erase_waits_for_valkey")
        return False
    return True


def sweep() -> int:
    """Erase the tasks that are due; return how many. Safe to run twice at the same time."""
    until = time.monotonic() + _PASS_SECONDS
    since = Now() - timedelta(days=settings.DELETED_RETENTION_DAYS)
    due = Task.objects.filter(Q(erase_at__lte=Now()) | Q(deleted_at__lte=since), ~Q(deleted_at=None)).order_by("deleted_at")
    erased = 0
    for pk in list(due.values_list("pk", flat=True)[:_MOST]):
        if time.monotonic() > until:
            break
        try:
            erased += erase(pk, until)
        except AWAY:
            logger.warning("erase_waits_for_valkey")
            break
    _hide_late_runs()
    _erase_strays()
    return erased


def erase(task_id: UUID, until: float) -> bool:
    """Erase a hidden task in batches; return whether it is erased.

    Returns False while a run is open (after a request to end it), or if `until` (monotonic clock) passed before the
    last batch. Raises an error of `AWAY` while Valkey, which stores the event logs, is unreachable.
    """
    while (left := _erase_some(task_id)) is _Remaining.MORE:
        if time.monotonic() > until:
            return False
    if left is _Remaining.OPEN_RUN:
        with transaction.atomic():
            _stop(task_id)
    return left is _Remaining.NOTHING


def _erase_some(task_id: UUID) -> _Remaining:
    """Erase one batch of the task's runs, and with the last one the task."""
    with transaction.atomic():
        # Code that opens a run updates this row first: either this finds the run, or that code finds no task.
        rows = Task.objects.select_for_update().filter(pk=task_id)
        task = rows.exclude(deleted_at=None).first()
        if task is None:
            return _Remaining.OPEN_RUN if rows.exists() else _Remaining.NOTHING
        own = TaskRun.objects.filter(task_id=task_id)
        if own.filter(status__in=OPEN).exists() or run_erasing.of_task(task_id).filter(status__in=AgentRun.OPEN).exists():
            return _Remaining.OPEN_RUN
        batch = list(own.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE])
        _forget_logs(batch)
        # Again after the commit, when no reader can find the rows: a log may have been written meanwhile.
        transaction.on_commit(lambda: _forget_logs(batch), robust=True)
        attempts = TaskAttempt.objects.filter(run_id__in=batch)
        run_erasing.erase(list(attempts.values_list("agent_run_id", flat=True)))
        Task.objects.filter(pk=task_id).update(last_run=None)
        for gone in (attempts, WebhookDelivery.objects.filter(run_id__in=batch), own.filter(pk__in=batch)):
            gone._raw_delete(gone.db)  # type: ignore[attr-defined]  # the collector would read every text first
        if len(batch) == _AT_ONCE:
            return _Remaining.MORE
        rest = list(run_erasing.of_task(task_id).values_list("pk", flat=True)[:_AT_ONCE])
        run_erasing.erase(rest)
        if len(rest) == _AT_ONCE:
            return _Remaining.MORE
        _withdraw_answers(task)
        Task.objects.filter(pk=task_id).delete()
    return _Remaining.NOTHING


def _stop(task_id: UUID) -> None:
    """Cancel the task's open run, and agent runs that are open although their task's run has ended."""
    for run_id in TaskRun.objects.filter(task_id=task_id, status__in=OPEN).values_list("pk", flat=True):
        task_runs.cancel(run_id)
    if not TaskRun.objects.filter(task_id=task_id, status__in=OPEN).exists():
        run_erasing.stop(run_erasing.of_task(task_id))


def _forget_logs(run_ids: list[UUID]) -> None:
    event_log.delete_sync(run_ids)


def _withdraw_answers(task: Task) -> None:
    idempotency.withdraw_references(str(task.user_id), [{"task_id": str(task.pk)}])


def _hide_late_runs() -> None:
    """Hide agent runs that were starting when their task was hidden."""
    for pk in Task.objects.filter(deleted_at__gte=Now() - _LATE_WRITES).values_list("pk", flat=True):
        run_erasing.hide(run_erasing.of_task(pk))


def _erase_strays() -> None:
    """Erase agent runs that a worker wrote after their task was erased: its run had been swept for an old heartbeat."""
    recent = UUID(int=int((time.time() - _STRAYS_SECONDS) * 1000) << 80)  # ids start with their time
    found = AgentRun.objects.filter(~Exists(Task.objects.filter(pk=OuterRef("task_id"))), ~Q(task_id=None), pk__gte=recent)
    ids = list(found.values_list("pk", flat=True)[:_AT_ONCE])
    if ids:
        run_erasing.stop(AgentRun.objects.filter(pk__in=ids))
        run_erasing.erase(ids)
