"""Deletes agents: hides them at once and erases them after DELETED_RETENTION_DAYS, or at once on request.

The owner's own runs are erased with the agent. Runs in conversations, in tasks and of other users stay, with the agent's
slug and the numbers of the versions that they name. The definition is always erased.
"""

from __future__ import annotations

import enum
import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from accounts import audit
from accounts.models import User
from agents.definitions.definition import AgentNotFound
from agents.models import Agent, AgentRun, AgentVersion
from agents.runs import erasing as run_erasing
from agents.runs import store as run_store
from aiagents.core import idempotency

# Agents per pass of the sweep, runs erased per transaction, and the most seconds of a pass.
_AGENTS_PER_PASS, _RUNS_PER_TRANSACTION, _PASS_SECONDS = 200, 200, 40.0
# Seconds that an immediate deletion waits for open runs to end, and between two checks.
STOP_WAIT_SECONDS, _CHECK_SECONDS = 5.0, 0.1
# After this time a process that was starting a run when its agent was deleted has written it.
_LATE_WRITES = timedelta(minutes=2)
# Hidden runs that were not erased with their conversation, task or agent are erased this long after it.
_EXTRA_DAYS = timedelta(days=1)


class _Rest(enum.Enum):
    """What remains after a transaction of `erase`: nothing, more to erase, or a run that must end first."""

    NOTHING = enum.auto()
    MORE = enum.auto()
    OPEN_RUN = enum.auto()


def hide_runs(agent: Agent) -> None:
    """Hide and cancel the owner's own runs of a deleted agent, in the transaction that deletes it.

    Runs of all users that wait for approval are cancelled: they hold the agent's prompt and may not continue with a deleted
    agent. Other users' running runs continue to their end.
    """
    run_erasing.hide(run_erasing.of_agent(agent))
    _stop(agent)


def withdraw_answers(agent: Agent, *, later: bool = False) -> None:
    """Replace stored idempotent answers that show the agent, or that it gave under its slug, by a 404."""
    references = [{"agent_id": str(agent.pk)}]
    if not later:  # another agent may have its slug by then
        references.append({"agent": agent.slug})
    idempotency.withdraw_references(str(agent.user_id), references)


def deleted(user: User, agent_id: UUID) -> bool:
    """Return whether the user has deleted this agent and its content is not erased yet."""
    return Agent.objects.filter(user=user, pk=agent_id, erased_at=None).exclude(deleted_at=None).exists()


def erase_now(agent_id: UUID) -> bool:
    """Erase a deleted agent. False if a run of it does not end in time; the sweep erases the agent after its end."""
    Agent.objects.filter(pk=agent_id).exclude(deleted_at=None).update(erase_at=Now())
    deadline = time.monotonic() + STOP_WAIT_SECONDS
    while not erase(agent_id, deadline):
        if time.monotonic() > deadline:
            return False
        time.sleep(_CHECK_SECONDS)
    return True


def sweep() -> int:
    """Erase the agents that are due and return their number. Safe to run twice at the same time."""
    until = time.monotonic() + _PASS_SECONDS
    since = Now() - timedelta(days=settings.DELETED_RETENTION_DAYS)
    due = Agent.objects.filter(Q(erase_at__lte=Now()) | Q(deleted_at__lte=since), ~Q(deleted_at=None), erased_at=None)
    erased = 0
    for pk in list(due.order_by("deleted_at").values_list("pk", flat=True)[:_AGENTS_PER_PASS]):
        if time.monotonic() > until:
            break
        erased += erase(pk, until)
    for agent in Agent.objects.filter(deleted_at__gte=Now() - _LATE_WRITES):
        run_erasing.hide(run_erasing.of_agent(agent))
    left = AgentRun.objects.filter(hidden_at__lte=since - _EXTRA_DAYS).exclude(status__in=AgentRun.OPEN)
    run_erasing.erase(list(left.values_list("pk", flat=True)[:_RUNS_PER_TRANSACTION]))
    unnamed = Agent.objects.exclude(deleted_at=None).exclude(erased_at=None).exclude(Exists(AgentRun.objects.filter(agent=OuterRef("pk"))))
    for pk in list(unnamed.values_list("pk", flat=True)[:_AGENTS_PER_PASS]):
        erase(pk, until)
    return erased


def erase(agent_id: UUID, until: float) -> bool:
    """Erase a deleted agent, its owner's own runs in batches first. True if its content is erased.

    False while a run of it is open, or if `until` (monotonic clock) passes before the last batch.
    """
    while (left := _erase_some(agent_id)) is _Rest.MORE:
        if time.monotonic() > until:
            return False
    if left is _Rest.OPEN_RUN and (agent := Agent.objects.filter(pk=agent_id).exclude(deleted_at=None).first()):
        _stop(agent)
    return left is _Rest.NOTHING


def _erase_some(agent_id: UUID) -> _Rest:
    """Erase one batch of the owner's own runs, and the agent with the last batch."""
    with transaction.atomic():
        # A run that is being written refers to this row: either we see the run, or its transaction finds no agent.
        rows = Agent.objects.select_for_update().filter(pk=agent_id)
        agent = rows.exclude(deleted_at=None).first()
        if agent is None:
            return _Rest.OPEN_RUN if rows.exists() else _Rest.NOTHING
        named = AgentRun.objects.filter(agent_id=agent_id)
        if named.filter(status__in=AgentRun.OPEN).exists():
            return _Rest.OPEN_RUN
        batch = list(run_erasing.of_agent(agent).values_list("pk", flat=True)[:_RUNS_PER_TRANSACTION])
        run_erasing.erase(batch)
        if len(batch) == _RUNS_PER_TRANSACTION:
            return _Rest.MORE
        withdraw_answers(agent, later=True)
        if named.exists():
            _erase_content(agent)
        else:
            _remove(agent)
    return _Rest.NOTHING


def _erase_content(agent: Agent) -> None:
    """Erase the content of an agent, but keep the slug and the version numbers that other runs name."""
    values = {"name": agent.slug, "description": "", "visibility": Agent.Visibility.PRIVATE, "version": None, "erased_at": Now()}
    Agent.objects.filter(pk=agent.pk).update(**values)
    versions = AgentVersion.objects.filter(agent_id=agent.pk)
    named = Exists(AgentRun.objects.filter(version=OuterRef("pk")))
    versions.filter(named).update(system_prompt="", model="", goal="", parameters={}, tools=[])
    unnamed = versions.exclude(named)
    unnamed._raw_delete(unnamed.db)  # type: ignore[attr-defined]  # Django's collector would query references for each version


def _remove(agent: Agent) -> None:
    Agent.objects.filter(pk=agent.pk).update(version=None)
    versions = AgentVersion.objects.filter(agent_id=agent.pk)
    versions._raw_delete(versions.db)  # type: ignore[attr-defined]  # for the same reason
    Agent.objects.filter(pk=agent.pk).delete()  # tasks of this agent lose their reference to it
    audit.forget_details(Agent, agent.pk)


def _stop(agent: Agent) -> None:
    run_erasing.stop(run_erasing.of_agent(agent))
    parked = AgentRun.objects.filter(run_store.parked(), agent_id=agent.pk)
    run_erasing.stop(parked, AgentNotFound("The agent of this run was deleted."))
