"""A person's decision on a tool call: made by one guarded update, then announced to the process that waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from agents.models import AgentRun, AgentStep
from agents.runs import store as run_store
from aiagents.core.errors import Conflict, NotFound
from aiagents.core.live import news
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY

logger = logging.getLogger(__name__)
Step = AgentStep.Status
# Gets a run whose calls are all decided, and returns whether it resumes the run itself.
Hook = Callable[[AgentRun], object]
# Seconds between two reads of the rows, because an announcement can be lost.
_LOOK_EVERY = 2.0
_KEPT = 60
DENIED_BY_TIME = "approval_timeout"
# By its name: the task imports the runner, which imports this module.
RESUME = "agents.tasks.resume_run"
decision_hooks: list[Hook] = []


def on_decision(hook: Hook) -> None:
    """Call `hook` for each parked run whose calls are all decided. It may be called twice for one run.

    A hook that returns true resumes the run. While there is a hook, a task's run is never resumed from here.
    """
    if hook not in decision_hooks:
        decision_hooks.append(hook)


def decide(user: User, run_id: UUID, *, approve: bool, call_id: str | None = None, reason: str = "") -> AgentRun:
    """Approve or deny the waiting calls of the user's own run, or one of them. The same decision again changes nothing.

    Raises NotFound for another user's run or an unknown call, and Conflict if the opposite was decided or no call waits.
    """
    verdict = {"decided_by": user, "decided_at": timezone.now()}
    with transaction.atomic():
        # The lock: the process that parks the run sees this decision, or this decision sees it parked.
        run = run_store.own(user.id).select_for_update().filter(id=run_id).first()
        if run is None:
            raise NotFound
        calls = AgentStep.objects.filter(run_id=run_id, kind=AgentStep.Kind.TOOL)
        if call_id is not None:
            calls = calls.filter(tool_call_id=call_id)
            if not calls.exists():
                raise NotFound("There is no such tool call in this run.", param="call_id")
        open_calls = list(calls.filter(status=Step.WAITING, decided_at=None)) if run.status in AgentRun.OPEN else []
        for step in open_calls:
            undecided = AgentStep.objects.filter(id=step.id, status=Step.WAITING, decided_at=None)
            if approve:
                undecided.update(**verdict)
            else:
                noted = {**step.input, "reason": reason} if reason else step.input
                undecided.update(status=Step.DENIED, ended_at=timezone.now(), input=noted, error_code="denied", **verdict)
        if not open_calls and not _same_word(calls, approve):
            raise Conflict("No tool call of this run waits for a decision.", code="nothing_waits")
        complete = not AgentStep.objects.filter(run_id=run_id, status=Step.WAITING, decided_at=None).exists()
        parked = run.status == AgentRun.Status.WAITING_APPROVAL and bool(run.state)
        if open_calls:
            news.send(user.id, news.Kind.APPROVAL_DECIDED, run_id)
    if open_calls and complete:
        _tell(run, parked)
    return run


def _same_word(calls: QuerySet[AgentStep], approve: bool) -> bool:
    """Whether a person has already made this decision on these calls."""
    last = calls.exclude(decided_by=None).order_by("-decided_at", "-number").first()
    return last is not None and (last.status == Step.DENIED) is not approve


def _tell(run: AgentRun, parked: bool) -> None:
    if parked:
        go_on(run)
        return
    try:
        client = valkey.sync_client()
        client.rpush(_key(run.id), 1)
        client.expire(_key(run.id), _KEPT)
    except AWAY:
        logger.warning("decision_not_announced", extra={"run_id": str(run.id)})  # it is found in the row, a little later


def go_on(run: AgentRun) -> None:
    """Resume a parked run whose calls are all decided: by a hook, or else by a worker."""
    taken = [bool(hook(run)) for hook in decision_hooks]
    if any(taken) or (run.task_id is not None and taken):
        return
    try:
        current_app.send_task(RESUME, [str(run.id)], retry=False)
    except Exception:  # whatever Celery's transport raises while the broker is away: the sweeper sends it again
        logger.warning("resumption_not_sent", extra={"run_id": str(run.id)}, exc_info=True)


async def announced(run_id: UUID, seconds: float) -> None:
    """Return when a decision on the run is announced, at the latest after a few seconds."""
    pause = min(_LOOK_EVERY, max(0.05, seconds))
    client = valkey.blocking_client()
    try:
        await client.blpop([_key(run_id)], timeout=pause)
    except AWAY:
        await asyncio.sleep(min(pause, 1.0))
    finally:
        await client.aclose()
    if valkey.cancelled():
        raise asyncio.CancelledError


def deny_late(run_id: UUID) -> None:
    """Deny the calls that still wait, because no decision came in time."""
    undecided = AgentStep.objects.filter(run_id=run_id, status=Step.WAITING, decided_at=None)
    now = timezone.now()
    if undecided.update(status=Step.DENIED, error_code=DENIED_BY_TIME, decided_at=now, ended_at=now):
        user_id = AgentRun.objects.values_list("user_id", flat=True).get(id=run_id)
        news.send(user_id, news.Kind.APPROVAL_DECIDED, run_id)


def _key(run_id: UUID) -> str:
    return f"agents:decided:{run_id}"
