"""Runs of a deleted task or agent: hidden, stopped, then deleted with their steps. Costs stay in the usage log."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from agents.models import Agent, AgentRun, AgentStep
from agents.runs import store as run_store
from agents.runs import stored
from aiagents.core.errors import AppError
from aiagents.core.stored_errors import to_store


def of_task(task_id: UUID) -> QuerySet[AgentRun]:
    """Return the runs of a task, with those of all its attempts."""
    return AgentRun.objects.filter(task_id=task_id)


def of_agent(agent: Agent) -> QuerySet[AgentRun]:
    """Return the runs that the owner started on the agent itself. Others belong to their conversation or task."""
    return AgentRun.objects.filter(agent_id=agent.pk, user_id=agent.user_id, conversation_id=None, task_id=None)


def hide(runs: QuerySet[AgentRun]) -> int:
    """Hide the runs from their user; return how many were visible."""
    return runs.filter(hidden_at=None).update(hidden_at=Now())


def stop(runs: QuerySet[AgentRun], why: AppError | None = None) -> int:
    """Cancel the runs that are open and return their number. Their processes stop within about a second."""
    stopped = 0
    for pk, request_id in list(runs.filter(status__in=AgentRun.OPEN).values_list("pk", "request_id")):
        error = None if why is None else to_store(why, request_id)
        stopped += run_store.end(pk, AgentRun.Status.CANCELLED, finish_reason="cancelled", error=error)
    return stopped


def erase(run_ids: Sequence[UUID]) -> int:
    """Delete the runs that have ended, with their steps and event logs, and return their number. Open ones stay."""
    with transaction.atomic():
        # A process that still writes into one of them holds its row.
        locked = AgentRun.objects.select_for_update().filter(pk__in=run_ids).exclude(status__in=AgentRun.OPEN).order_by("pk")
        ended = list(locked.values_list("pk", flat=True))
        stored.forget(ended)
        # Again after the commit: the log of a run that ended just now may have been written meanwhile.
        transaction.on_commit(lambda: stored.forget(ended), robust=True)
        steps, runs = AgentStep.objects.filter(run_id__in=ended), AgentRun.objects.filter(pk__in=ended)
        # Not Django's collector: it would read every row with its texts before it deletes it.
        steps._raw_delete(steps.db)  # type: ignore[attr-defined]  # the stubs leave out this method
        runs._raw_delete(runs.db)  # type: ignore[attr-defined]  # the stubs leave out this method
    return len(ended)
