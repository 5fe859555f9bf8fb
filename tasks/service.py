"""Create, change, run, pause, resume and delete tasks for users, each in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.authentication import Principal
from accounts.models import User
from aiagents.core.errors import Conflict, NotFound
from aiagents.core.live import news
from billing.budgets import budgets
from billing.models import Budget
from tasks import deleting, schedule, webhooks
from tasks import variables as placeholders
from tasks.models import OPEN, Task, TaskRun
from tasks.runs import store as task_runs
from tasks.schedule import Kind, Plan


class TooMany(Conflict):
    code = "too_many_tasks"
    message = "You have the maximum number of tasks. Delete some first."


def create(principal: Principal, values: Mapping[str, Any], plan: Plan, *, paused: bool, request_id: str) -> tuple[Task, str]:
    """Save a task; return it and its webhook's secret, if one was created here. The secret cannot be shown again."""
    with transaction.atomic():
        User.objects.hold(principal.user_id)
        if Task.objects.filter(user_id=principal.user_id, deleted_at=None).count() >= settings.TASKS_PER_USER:
            raise TooMany
        task = Task(user_id=principal.user_id)
        shown = _fill(task, values)
        _plan(task, plan)
        task.paused_at = timezone.now() if paused else None
        task.api_key_id = principal.key_id
        task.save()
        _send_news(task)
        _budget(task, values)
        if plan.kind == Kind.NOW and not paused:
            task_runs.open_run(task, TaskRun.Trigger.REQUEST, key_id=principal.key_id, request_id=request_id)
    return get(principal, task.pk), shown


def update(principal: Principal, task_id: UUID, values: Mapping[str, Any], plan: Plan | None, *, request_id: str) -> tuple[Task, str]:
    """Change the task; return it and its webhook's secret, if one was created here.

    An open run keeps its input; its next attempt reads the other values again. An unchanged schedule keeps its next
    time; a changed one starts now.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().filter(pk=task_id, deleted_at=None).first()
        if task is None:  # deleted meanwhile
            raise NotFound
        shown = _fill(task, values)
        starts = False
        if plan is not None and plan != Plan.of(task):
            _plan(task, plan)
            starts = plan.kind == Kind.NOW and task.paused_at is None
        task.api_key_id = principal.key_id
        task.save(update_fields=[*_OWN, "api_key_id", "updated_at"])
        _send_news(task)
        _budget(task, values)
        if starts:
            task_runs.open_run(task, TaskRun.Trigger.REQUEST, key_id=principal.key_id, request_id=request_id)
    return get(principal, task_id), shown


def run(principal: Principal, task: Task, variables: dict[str, Any], *, request_id: str) -> TaskRun:
    """Start a run by hand, also of a paused task, and return it.

    Raises Busy while a run is open, and TooLong if the variables make the input too long.
    """
    placeholders.filled(task.input, task.variables | variables, timezone.now(), task.time_zone)
    return task_runs.open_run(task, TaskRun.Trigger.REQUEST, key_id=principal.key_id, request_id=request_id, variables=variables)


def cancel(task: Task) -> TaskRun:
    """End the task's open run and return it; cancel a single run that is still to come. Raises Conflict without one."""
    with transaction.atomic():
        open_run = TaskRun.objects.filter(task=task, status__in=OPEN).first()
        if open_run is None and task.schedule in Task.RECURRING:
            raise Conflict("No run of this task is open. To stop its schedule, pause it.", code="nothing_runs")
        if open_run is None:
            slot = task.next_run_at
            if slot is None or not Task.objects.filter(pk=task.pk, next_run_at=slot).update(next_run_at=None):
                raise Conflict("No run of this task is open.", code="nothing_runs")
            open_run = task_runs.open_run(task, TaskRun.Trigger.SCHEDULE, key_id=task.api_key_id, scheduled_for=slot)
    return task_runs.cancel(open_run.pk)


def pause(task: Task) -> None:
    """Stop the schedule. An open run continues; `cancel` ends it."""
    if Task.objects.filter(pk=task.pk, paused_at=None).update(paused_at=timezone.now()):
        _send_news(task)


def resume(principal: Principal, task: Task, *, request_id: str) -> None:
    """Continue the schedule from now; skip the times that passed while the task was paused."""
    with transaction.atomic():
        if not Task.objects.filter(pk=task.pk, deleted_at=None).exclude(paused_at=None).update(paused_at=None):
            return
        _send_news(task)
        plan = Plan.of(task)
        if task.schedule in Task.RECURRING:
            Task.objects.filter(pk=task.pk).update(next_run_at=schedule.first(plan, timezone.now()))
        elif plan.kind == Kind.NOW and not task.runs.exists():
            task_runs.open_run(task, TaskRun.Trigger.REQUEST, key_id=principal.key_id, request_id=request_id)


def delete(task: Task) -> None:
    """Hide the task, cancel its open run and remove its secret. The sweep of `deleting` erases it later."""
    deleting.hide(task)


def new_secret(task: Task) -> str:
    """Return a new signing secret for the task's webhook; the previous one is invalid from now on."""
    secret = webhooks.new_secret()
    webhooks.set_secret(task, secret)
    if not Task.objects.filter(pk=task.pk, deleted_at=None).update(webhook_secret_encrypted=task.webhook_secret_encrypted):
        raise NotFound
    return secret


def get(principal: Principal, task_id: UUID) -> Task:
    """Return the user's task. Raises NotFound if it does not exist or was deleted."""
    task = Task.objects.visible_to(principal.user).select_related("last_run").filter(pk=task_id).first()
    if task is None:
        raise NotFound
    return task


def _send_news(task: Task) -> None:
    news.send(task.user_id, news.Kind.TASK_CHANGED, task.pk)


def limits(task_ids: Iterable[UUID]) -> Mapping[UUID, Decimal | None]:
    """Return the monthly limits (USD) of those of the tasks that have one."""
    rows = Budget.objects.filter(scope=Budget.Scope.TASK, scope_id__in=list(task_ids)).exclude(limit_usd=None)
    return {scope_id: limit for scope_id, limit in rows.values_list("scope_id", "limit_usd") if scope_id is not None}


# The columns that a client may set.
_GIVEN = (
    "name", "description", "input", "variables", "system_prompt", "model", "goal", "parameters", "max_retries", "retry_seconds",
    "max_seconds", "max_cost_usd", "webhook_url",
)  # fmt: skip
_TIMES = ("schedule", "run_at", "every_seconds", "cron", "time_zone", "next_run_at")
_OWN = (*_GIVEN, *_TIMES, "kind", "agent", "webhook_secret_encrypted")


def _fill(task: Task, values: Mapping[str, Any]) -> str:
    for name in _GIVEN:
        if name in values:
            setattr(task, name, values[name])
    if "agent_id" in values:
        task.agent_id = values["agent_id"]
        task.kind = Task.Kind.AGENT if task.agent_id else Task.Kind.PROMPT
    if task.kind == Task.Kind.AGENT:  # an agent has its own
        task.system_prompt, task.model, task.goal, task.parameters = "", "auto", "", {}
    if secret := values.get("webhook_secret"):
        webhooks.set_secret(task, secret)
    elif task.webhook_url and not task.webhook_secret_encrypted:
        made = webhooks.new_secret()
        webhooks.set_secret(task, made)
        return made
    return ""


def _plan(task: Task, plan: Plan) -> None:
    task.schedule, task.run_at, task.every_seconds = plan.kind, plan.at, plan.every_seconds
    task.cron, task.time_zone = plan.cron, plan.time_zone
    task.next_run_at = None if plan.kind == Kind.NOW else schedule.first(plan, timezone.now())


def _budget(task: Task, values: Mapping[str, Any]) -> None:
    if "monthly_budget_usd" not in values:
        return
    limit = values["monthly_budget_usd"]
    if limit is not None or Budget.objects.filter(scope=Budget.Scope.TASK, scope_id=task.pk).exists():
        budgets.set_limit(Budget.Scope.TASK, task.pk, limit)
