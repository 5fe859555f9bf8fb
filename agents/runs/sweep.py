"""The periodic sweep: ends runs whose process is gone, resumes parked runs that are decided, ends those that never were."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from agents.models import AgentRun, AgentStep
from agents.runs import approvals, stored
from agents.runs import store as run_store
from aiagents.core.db.rotation import Rotation
from aiagents.core.errors import Unavailable
from aiagents.core.live import outage_heartbeat
from aiagents.core.stored_errors import to_store

logger = logging.getLogger(__name__)
Status = AgentRun.Status
_MOST = 500
# A decided run that no worker took is sent again after so many seconds.
SENT_AGAIN = 15
# Runs whose late charges one sweep looks for: those that ended in the last so many seconds, and all others.
_LATE, _RECENT_MOST, _OLDER_MOST = 3600, 300, 50
_GONE = "The process that ran this is gone. What it did stands in the steps; a tool call with an unknown outcome was not repeated."
_FORGOTTEN = "The waiting tool calls were not decided in time."


def sweep() -> int:
    """End the runs whose process is gone and return their number. Several processes may do it at once."""
    silent = list(_silent().order_by("heartbeat_at")[:_MOST])
    living = outage_heartbeat.among("agents", (run.id for run in silent))  # their processes only cannot reach the database
    ended = sum(_interrupt(run) for run in silent if run.id not in living)
    _give_up_forgotten()
    _send_again()
    _count_late()
    if ended:
        logger.warning("runs_interrupted", extra={"count": ended})
    return ended


def _silent() -> QuerySet[AgentRun]:
    """Return the open runs without a recent heartbeat. A parked run needs none."""
    since = Now() - timedelta(seconds=settings.AGENT_SILENCE_SECONDS)
    held = Q(status=Status.RUNNING) | Q(status=Status.WAITING_APPROVAL, state={})
    return AgentRun.objects.filter(held, heartbeat_at__lt=since)


def _interrupt(run: AgentRun) -> bool:
    error = to_store(Unavailable(_GONE, code="interrupted"), run.request_id)
    # Checked again in the same statement: a heartbeat may have come meanwhile.
    if not run_store.end(run.id, Status.INTERRUPTED, still=_silent(), error=error, finish_reason="error"):
        return False
    run_store.count_from_books(run.id)
    if run.message_id is None and run.task_id is None:
        stored.close(run.id)
    return True


def _give_up_forgotten() -> None:
    since = Now() - timedelta(seconds=settings.AGENT_PARKED_SECONDS)
    for run in AgentRun.objects.filter(run_store.parked(), heartbeat_at__lt=since)[:_MOST]:
        error = to_store(Unavailable(_FORGOTTEN, code=approvals.DENIED_BY_TIME), run.request_id)
        run_store.end(run.id, Status.CANCELLED, error=error, finish_reason="cancelled")


def _send_again() -> None:
    """Send the resumption of decided runs again, which a worker or the broker lost."""
    undecided = AgentStep.objects.filter(run=OuterRef("pk"), status=AgentStep.Status.WAITING, decided_at=None)
    lately = AgentStep.objects.filter(run=OuterRef("pk"), decided_at__gt=Now() - timedelta(seconds=SENT_AGAIN))
    for run in AgentRun.objects.filter(run_store.parked()).exclude(Exists(undecided)).exclude(Exists(lately))[:_MOST]:
        approvals.go_on(run)


def _count_late() -> None:
    """Correct the cost of ended runs: a call may be settled or swept after its run has failed.

    Runs that ended in the last hour come first; older ones follow, a few at each sweep.
    """
    broken = AgentRun.objects.filter(status__in=(Status.INTERRUPTED, Status.CANCELLED, Status.FAILED))
    since = Now() - timedelta(seconds=_LATE)
    runs = _recent.page(broken.filter(ended_at__gt=since), _RECENT_MOST) + older_runs.page(broken.exclude(ended_at__gt=since), _OLDER_MOST)
    for run in runs:
        if run_store.differs_from_books(run):
            run_store.count_from_books(run.id)


_recent: Rotation[AgentRun] = Rotation()
older_runs: Rotation[AgentRun] = Rotation()
