"""Runs whose process is gone are ended; parked runs are taken up once decided, and given up when nobody ever decides."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from agents import approvals, run_store
from agents.models import AgentRun, AgentStep
from agents.run_loop import error_json
from aiagents.lib import alive
from aiagents.lib.errors import Unavailable
from billing.models import UsageLog

logger = logging.getLogger(__name__)
Status = AgentRun.Status
_MOST = 500
# A decided run that nobody took up is sent again after so many seconds; a broken-off run's late charges are looked for so long.
_SENT_AGAIN, _LATE = 15, 180
_GONE = "The process that ran this is gone. What it did stands in the steps; a tool call with an unknown outcome was not repeated."
_FORGOTTEN = "Nobody decided about the waiting tool calls in time."


def sweep() -> int:
    """End the runs whose process is gone; how many. Safe to run twice and anywhere."""
    silent = list(_silent().order_by("heartbeat_at")[:_MOST])
    living = alive.among("agents", (run.id for run in silent))  # their processes only cannot reach the database
    ended = sum(_interrupt(run) for run in silent if run.id not in living)
    _give_up_forgotten()
    _send_again()
    _count_late()
    if ended:
        logger.warning("runs_interrupted", extra={"count": ended})
    return ended


def _silent() -> QuerySet[AgentRun]:
    """Open runs that nobody speaks for. A parked one needs nobody."""
    since = Now() - timedelta(seconds=settings.AGENT_SILENCE_SECONDS)
    held = Q(status=Status.RUNNING) | Q(status=Status.WAITING_APPROVAL, state={})
    return AgentRun.objects.filter(held, heartbeat_at__lt=since)


def _interrupt(run: AgentRun) -> bool:
    error = error_json(Unavailable(_GONE, code="interrupted"), run.request_id)
    # Once more in the same statement: it may have spoken meanwhile.
    if not run_store.end(run.id, Status.INTERRUPTED, still=_silent(), error=error, finish_reason="error"):
        return False
    run_store.count_from_books(run.id)
    return True


def _give_up_forgotten() -> None:
    since = Now() - timedelta(seconds=settings.AGENT_PARKED_SECONDS)
    for run in AgentRun.objects.filter(run_store.parked(), heartbeat_at__lt=since)[:_MOST]:
        error = error_json(Unavailable(_FORGOTTEN, code=approvals.DENIED_BY_TIME), run.request_id)
        run_store.end(run.id, Status.CANCELLED, error=error, finish_reason="cancelled")


def _send_again() -> None:
    """Parked runs of which all is decided, and whose resumption was lost with a worker or a broker."""
    undecided = AgentStep.objects.filter(run=OuterRef("pk"), status=AgentStep.Status.WAITING, decided_at=None)
    lately = AgentStep.objects.filter(run=OuterRef("pk"), decided_at__gt=Now() - timedelta(seconds=_SENT_AGAIN))
    for run in AgentRun.objects.filter(run_store.parked()).exclude(Exists(undecided)).exclude(Exists(lately))[:_MOST]:
        approvals.go_on(run)


def _count_late() -> None:
    """Calls that were settled or swept after their run had ended badly: its totals follow the books."""
    broken = AgentRun.objects.filter(status__in=(Status.INTERRUPTED, Status.CANCELLED, Status.FAILED))
    runs = list(broken.filter(ended_at__gt=Now() - timedelta(seconds=_LATE)).order_by("-ended_at")[:_MOST])
    if not runs:
        return
    since = min(run.created_at for run in runs) - run_store.SKEW
    ids, users = [run.id for run in runs], {run.user_id for run in runs}
    booked = UsageLog.objects.filter(created_at__gte=since, group_id__in=ids, user_id__in=users)
    for run_id in set(booked.values_list("group_id", flat=True)):
        run_store.count_from_books(run_id)
