"""Invariants of tasks, checked against the database by `billing.invariants`.

I3  an ended run costs the sum of its calls
I5  every run has a valid status; no dead worker leaves one running, and no attempt is open in an ended run
T1  a task's last run is its newest, and an open run is its last
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from billing.invariants import Violation
from billing.models import Hold
from tasks.models import ENDED, OPEN, Status, Task, TaskAttempt, TaskRun
from tasks.runs import store as task_runs

_ROWS = 5_000
_SWEEPER_INTERVALS = 4


def check() -> Iterator[Violation]:
    yield from _statuses()
    yield from _last_runs()
    yield from _costs()


def _statuses() -> Iterator[Violation]:
    for pk, status in TaskRun.objects.exclude(status__in=[*OPEN, *ENDED]).values_list("pk", "status"):
        yield Violation("I5", f"task run {pk} has the status {status!r}")
    since = Now() - timedelta(seconds=_SWEEPER_INTERVALS * settings.TASK_SILENCE_SECONDS)
    stuck = TaskRun.objects.filter(status=Status.RUNNING).filter(Q(heartbeat_at=None) | Q(heartbeat_at__lt=since))
    for pk in stuck.values_list("pk", flat=True):
        yield Violation("I5", f"task run {pk} has an old heartbeat and was not swept")
    left = TaskAttempt.objects.filter(run__status__in=ENDED).exclude(status__in=ENDED)
    for pk in left.values_list("pk", flat=True):
        yield Violation("I5", f"task attempt {pk} is open in a run that has ended")


def _last_runs() -> Iterator[Violation]:
    newer = TaskRun.objects.filter(task=OuterRef("pk"), number__gt=OuterRef("last_run__number"))
    for pk in Task.objects.exclude(last_run=None).filter(Exists(newer)).values_list("pk", flat=True):
        yield Violation("T1", f"task {pk} has a last run that is not its newest")
    for pk in TaskRun.objects.filter(status__in=OPEN).exclude(pk=F("task__last_run")).values_list("pk", flat=True):
        yield Violation("T1", f"task run {pk} is open and not its task's last")


def _costs() -> Iterator[Violation]:
    """Check the costs of the newest runs, except of those with calls that are not settled yet."""
    open_groups = {call.get("group_id") for call in Hold.objects.filter(status=Hold.Status.OPEN).values_list("call", flat=True)}
    for run in TaskRun.objects.filter(status__in=ENDED).order_by("-id").prefetch_related("attempts")[:_ROWS]:
        if any(str(attempt.agent_run_id) in open_groups for attempt in run.attempts.all()):
            continue
        booked = task_runs.sums(run)["cost_usd"]
        if run.cost_usd != booked:
            yield Violation("I3", f"task run {run.pk} has the cost {run.cost_usd}, its calls cost {booked}")
