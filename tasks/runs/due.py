"""The tick that beat sends every two seconds: start what is due. Several may run at once; one of them takes each moment.

schedule.py has the policy for missed times.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from aiagents.core import storage
from aiagents.core.errors import AppError
from aiagents.core.ids import uuid7
from billing.budgets.budgets import database_now
from tasks import schedule
from tasks.models import Status, Task, TaskRun, WebhookDelivery
from tasks.runs import queue
from tasks.runs import store as task_runs
from tasks.schedule import Plan

logger = logging.getLogger(__name__)
_MOST = 1000


class Missed(AppError):
    type = code = "schedule_missed"
    status = 503
    message = "Nothing could start this task at its time, and too much time has gone by since. Run it by hand if it is still wanted."


def tick() -> int:
    """Return how many runs were started, retried or sent again. While the disk is full, due runs wait as if beat were away."""
    now = database_now()
    return (0 if storage.low() else _start_due(now)) + _try_again() + _send_again() + _deliver_again()


def _start_due(now: datetime) -> int:
    due = Task.objects.filter(next_run_at__lte=now, paused_at=None, deleted_at=None).order_by("next_run_at")
    return sum(_start(task, now) for task in due[:_MOST])


def _start(task: Task, now: datetime) -> bool:
    """Take the task's moment and start its run; return False if another tick took it or the last run is still open."""
    slot = task.next_run_at
    assert slot is not None
    following = schedule.following(Plan.of(task), slot, now)
    with transaction.atomic():
        mine = Task.objects.filter(pk=task.pk, next_run_at=slot, paused_at=None, deleted_at=None)
        if not mine.update(next_run_at=following):
            return False
        late = now - slot > timedelta(seconds=settings.TASK_CATCH_UP_SECONDS)
        if late and following is not None:
            logger.warning("schedule_missed", extra={"task": str(task.pk), "slot": slot.isoformat()})
            return False
        try:
            task_runs.open_run(
                task, TaskRun.Trigger.SCHEDULE, key_id=task.api_key_id, request_id=uuid7().hex, scheduled_for=slot,
                refused=Missed() if late else None,
            )  # fmt: skip
        except task_runs.Busy:
            logger.info("schedule_skipped", extra={"task": str(task.pk), "slot": slot.isoformat()})
            return False
    return True


def _try_again() -> int:
    """Start the attempts whose pause is over."""
    waiting = TaskRun.objects.filter(status=Status.SCHEDULED, not_before__lte=Now()).order_by("not_before")
    return sum(task_runs.requeue(run_id, was=Status.SCHEDULED) for run_id in waiting.values_list("pk", flat=True)[:_MOST])


def _send_again() -> int:
    """Send queued runs again whose message seems lost: the broker was away, or their user had too many running."""
    stale = TaskRun.objects.filter(status=Status.QUEUED, queued_at__lt=Now() - timedelta(seconds=settings.TASK_REQUEUE_SECONDS))
    sent = 0
    for run_id in stale.order_by("queued_at").values_list("pk", flat=True)[:_MOST]:
        with transaction.atomic():
            # Once in TASK_REQUEUE_SECONDS over all ticks; the order in the queue is that of creation.
            if stale.filter(pk=run_id).update(queued_at=Now()):
                queue.send(run_id)
                sent += 1
    return sent


def _deliver_again() -> int:
    due = WebhookDelivery.objects.filter(state=WebhookDelivery.State.PENDING, next_attempt_at__lte=Now()).order_by("next_attempt_at")
    found = list(due.values_list("pk", flat=True)[:_MOST])
    for delivery_id in found:
        queue.send_delivery(delivery_id)
    return len(found)
