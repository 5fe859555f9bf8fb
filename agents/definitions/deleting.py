"""Deleting agents: out of sight at once, out of the database after DELETED_RETENTION_DAYS, or at once on request.

The owner's own runs of the agent go with it. Runs in conversations, in tasks and of other people belong to those: they
stay, and so do the agent's slug and the numbers of the versions that they name. The definition goes in any case.
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

# Agents that one pass of the sweep looks at, runs that one transaction erases, and how long (seconds) a pass may take.
_MOST, _AT_ONCE, _PASS_SECONDS = 200, 200, 40.0
# Seconds that a deletion `now` waits for open runs to end, and between two looks.
_STOP_WAITS, _LOOK_EVERY = 5.0, 0.1
# A process that was starting a run while its agent was deleted has written it after this long.
_LATE_WRITES = timedelta(minutes=2)
# Hidden runs whose conversation, task or agent did not take them along go this long after their time.
_LEFT_BEHIND = timedelta(days=1)


class _Left(enum.Enum):
    """What a transaction of `erase` leaves: nothing, more to erase, or a run that has to end first."""

    NOTHING = enum.auto()
    MORE = enum.auto()
    OPEN_RUN = enum.auto()


def hide_runs(agent: Agent) -> None:
    """Take the owner's own runs of a deleted agent out of sight, and cancel them; in the transaction that deletes it.

    Runs that wait for a person are cancelled, other people's too: they keep the agent's prompt to go on with, and may not
    go on with a deleted agent. Other people's running runs go on to their end.
    """
    run_erasing.hide(run_erasing.of_agent(agent))
    _stop(agent)


def withdraw_answers(agent: Agent, *, later: bool = False) -> None:
    """Replace the owner's stored idempotent answers that show the agent, or that it gave under its slug, by a 404."""
    references = [{"agent_id": str(agent.pk)}]
    if not later:  # its slug may be another agent's by now
        references.append({"agent": agent.slug})
    idempotency.withdraw_references(str(agent.user_id), references)


def deleted(user: User, agent_id: UUID) -> bool:
    """Whether the user has deleted this agent and its content is still there."""
    return Agent.objects.filter(user=user, pk=agent_id, erased_at=None).exclude(deleted_at=None).exists()


def erase_now(agent_id: UUID) -> bool:
    """Erase a deleted agent. False if a run of it did not end in time: the sweep erases it once the run has ended."""
    Agent.objects.filter(pk=agent_id).exclude(deleted_at=None).update(erase_at=Now())
    deadline = time.monotonic() + _STOP_WAITS
    while not erase(agent_id, deadline):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True


def sweep() -> int:
    """Erase the agents that are due; how many. Safe to run twice at the same time."""
    until = time.monotonic() + _PASS_SECONDS
    since = Now() - timedelta(days=settings.DELETED_RETENTION_DAYS)
    due = Agent.objects.filter(Q(erase_at__lte=Now()) | Q(deleted_at__lte=since), ~Q(deleted_at=None), erased_at=None)
    erased = 0
    for pk in list(due.order_by("deleted_at").values_list("pk", flat=True)[:_MOST]):
        if time.monotonic() > until:
            break
        erased += erase(pk, until)
    for agent in Agent.objects.filter(deleted_at__gte=Now() - _LATE_WRITES):
        run_erasing.hide(run_erasing.of_agent(agent))
    left = AgentRun.objects.filter(hidden_at__lte=since - _LEFT_BEHIND).exclude(status__in=AgentRun.OPEN)
    run_erasing.erase(list(left.values_list("pk", flat=True)[:_AT_ONCE]))
    unnamed = Agent.objects.exclude(deleted_at=None).exclude(erased_at=None).exclude(Exists(AgentRun.objects.filter(agent=OuterRef("pk"))))
    for pk in list(unnamed.values_list("pk", flat=True)[:_MOST]):
        erase(pk, until)
    return erased


def erase(agent_id: UUID, until: float) -> bool:
    """Erase a deleted agent, its owner's own runs in batches first. True if its content is gone.

    False while a run of it is open, or where `until`, a moment of the monotonic clock, came before the last batch.
    """
    while (left := _erase_some(agent_id)) is _Left.MORE:
        if time.monotonic() > until:
            return False
    if left is _Left.OPEN_RUN and (agent := Agent.objects.filter(pk=agent_id).exclude(deleted_at=None).first()):
        _stop(agent)
    return left is _Left.NOTHING


def _erase_some(agent_id: UUID) -> _Left:
    """Erase one batch of the owner's own runs; the agent itself with the last one."""
    with transaction.atomic():
        # A run that is being written refers to this row: it is seen here, or its transaction finds no agent.
        rows = Agent.objects.select_for_update().filter(pk=agent_id)
        agent = rows.exclude(deleted_at=None).first()
        if agent is None:
            return _Left.OPEN_RUN if rows.exists() else _Left.NOTHING
        named = AgentRun.objects.filter(agent_id=agent_id)
        if named.filter(status__in=AgentRun.OPEN).exists():
            return _Left.OPEN_RUN
        batch = list(run_erasing.of_agent(agent).values_list("pk", flat=True)[:_AT_ONCE])
        run_erasing.erase(batch)
        if len(batch) == _AT_ONCE:
            return _Left.MORE
        withdraw_answers(agent, later=True)
        if named.exists():
            _empty(agent)
        else:
            _remove(agent)
    return _Left.NOTHING


def _empty(agent: Agent) -> None:
    """Keep what other runs name: the slug and the numbers of their versions."""
    values = {"name": agent.slug, "description": "", "visibility": Agent.Visibility.PRIVATE, "version": None, "erased_at": Now()}
    Agent.objects.filter(pk=agent.pk).update(**values)
    versions = AgentVersion.objects.filter(agent_id=agent.pk)
    named = Exists(AgentRun.objects.filter(version=OuterRef("pk")))
    versions.filter(named).update(system_prompt="", model="", goal="", parameters={}, tools=[])
    unnamed = versions.exclude(named)
    unnamed._raw_delete(unnamed.db)  # type: ignore[attr-defined]  # the collector would look for references version by version


def _remove(agent: Agent) -> None:
    Agent.objects.filter(pk=agent.pk).update(version=None)
    versions = AgentVersion.objects.filter(agent_id=agent.pk)
    versions._raw_delete(versions.db)  # type: ignore[attr-defined]
    Agent.objects.filter(pk=agent.pk).delete()  # tasks that ran it have none now
    audit.forget_details(Agent, agent.pk)


def _stop(agent: Agent) -> None:
    run_erasing.stop(run_erasing.of_agent(agent))
    parked = AgentRun.objects.filter(run_store.parked(), agent_id=agent.pk)
    run_erasing.stop(parked, AgentNotFound("The agent of this run was deleted."))
