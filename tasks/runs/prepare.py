"""What a run needs before it can begin: its owner, its definition and its input, checked again at each attempt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from accounts import principals
from accounts.authentication import Principal
from accounts.models import ApiKey, User
from agents.definitions import definition as definitions
from agents.definitions.definition import Definition
from agents.models import AgentRun, AgentStep
from agents.tools import registry
from aiagents.core.errors import AppError, BudgetExceeded, NotFound, PermissionDenied
from tasks import variables
from tasks.models import Task
from tasks.runs import store as task_runs
from tasks.runs.store import Claimed


class OwnerGone(PermissionDenied):
    code = "owner_disabled"
    message = "The account that this task belongs to is disabled."


class KeyGone(PermissionDenied):
    code = "api_key_revoked"
    message = "The API key that this task runs by is revoked or has expired. Save the task again, in person or by another key."


class AgentGone(NotFound):
    code = "agent_gone"
    message = "The agent of this task was deleted, switched off, or is not shared with you any more."


class CostSpent(BudgetExceeded):
    code = "run_cost_limit"
    message = "This run has used up the cost that one run of the task may have."


@dataclass(frozen=True, slots=True)
class Prepared:
    principal: Principal
    definition: Definition
    input: str
    max_cost_usd: Decimal | None


def prepare(claimed: Claimed) -> Prepared:
    """Return all that the runner needs. Raises an AppError if the run is not possible."""
    run, task = claimed.run, claimed.task
    principal = _principal(run.user_id, run.api_key_id)
    left = None
    if task.max_cost_usd is not None:
        left = task.max_cost_usd - task_runs.sums(run)["cost_usd"]
        if left <= 0:
            raise CostSpent
    if claimed.goes_on:
        return Prepared(principal, definitions.bare(), run.input, left)
    moment = run.scheduled_for or run.created_at
    text = variables.filled(task.input, run.variables, moment, task.time_zone)
    task_runs.note_input(claimed.token, text)
    return Prepared(principal, definition(task, principal.user), text, left)


def definition(task: Task, user: User) -> Definition:
    """Return what the task runs now. Raises AgentGone if its owner may not run that agent any more."""
    if task.kind == Task.Kind.PROMPT:
        return definitions.bare(
            system_prompt=task.system_prompt, model=task.model, goal=task.goal, parameters=task.parameters, max_seconds=task.max_seconds
        )
    if task.agent_id is None:
        raise AgentGone
    try:
        found = definitions.visible(user, agent_id=task.agent_id)
    except NotFound as exc:
        raise AgentGone from exc
    return replace(found, max_seconds=min(found.max_seconds, task.max_seconds))


def _principal(user_id: UUID, key_id: UUID | None) -> Principal:
    """Return the owner as stored now: a schedule outlives sessions and passwords, but neither the account nor the key."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise OwnerGone
    if key_id is None:
        return principals.of_account(user)
    key = ApiKey.objects.live().filter(pk=key_id, user=user).first()
    if key is None:
        raise KeyGone
    return principals.of_account(user, key_id=key.id, scopes=frozenset(key.scopes))


def refusal(claimed: Claimed) -> AppError | None:
    """Return why the run's owner may not run it any more, or None."""
    try:
        _principal(claimed.run.user_id, claimed.run.api_key_id)
    except AppError as exc:
        return exc
    return None


def may_repeat(agent_run: AgentRun | None) -> bool:
    """Return whether the run may be repeated: it ran no tool, or only tools that may be called twice."""
    if agent_run is None:
        return True
    idle = (AgentStep.Status.WAITING, AgentStep.Status.DENIED, AgentStep.Status.CANCELLED)
    called = AgentStep.objects.filter(run=agent_run, kind=AgentStep.Kind.TOOL).exclude(status__in=idle)
    names = set(called.values_list("name", flat=True))
    known = registry.tools_for_sync(names) if names else {}
    return all(name in known and known[name].repeatable for name in names)
