"""A run in the database: opened, its steps written in order, parked, resumed, ended exactly once.

Every statement of a run's process is guarded by the run being open. So a process that was taken for dead, or whose run
was cancelled elsewhere, writes nothing more: it gets RunEnded and stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agents.events import Settled
from agents.models import AgentRun, AgentStep
from aiagents.core.errors import AppError, Conflict, NotFound
from aiagents.core.live import news
from billing.models import Hold, UsageLog

P = ParamSpec("P")
T = TypeVar("T")
Status, Step = AgentRun.Status, AgentStep.Status
# Two hosts' clocks may differ: how far before its run a call may have been logged.
SKEW = timedelta(minutes=5)
OUTCOME_UNKNOWN = "outcome_unknown"


class RunEnded(AppError):
    """The run was ended from outside: cancelled, or given up by the sweeper."""

    type = code = "conflict"
    status = 409
    message = "The run has already ended."


class RunCancelled(RunEnded):
    code = "cancelled"
    message = "The run was cancelled."


@dataclass(frozen=True, slots=True)
class Closing:
    """A change of one step, made only if it still has the status `was`."""

    step_id: UUID
    was: str
    values: dict[str, Any] = field(default_factory=dict)


def open_run(run: AgentRun, first: AgentStep, with_row: Callable[[AgentRun], None] | None = None) -> None:
    """Create the run and its first step in one transaction, in which `with_row` runs too."""
    try:
        with transaction.atomic():
            run.save(force_insert=True)
            first.save(force_insert=True)
            if with_row is not None:
                with_row(run)
            news.send(run.user_id, news.Kind.RUN_CHANGED, run.id)
    except IntegrityError as exc:
        raise Conflict("There is already a run of this id.") from exc


def write(run_id: UUID, *, closed: Sequence[Closing] = (), opened: Sequence[AgentStep] = (), **run: Any) -> None:
    """Write what happened, all or nothing. Raises RunEnded if the run is not open any more. Safe to repeat."""
    with transaction.atomic():
        _guard(run_id, **run)
        for one in closed:
            AgentStep.objects.filter(id=one.step_id, status=one.was).update(**one.values)
        if opened:
            AgentStep.objects.bulk_create(opened, ignore_conflicts=True)


def start_tools(run_id: UUID, step_ids: Iterable[UUID]) -> set[UUID]:
    """Mark approved calls as running and return them: only these may be executed. It happens once for each call."""
    with transaction.atomic():
        _guard(run_id, status=Status.RUNNING)
        for step_id in step_ids:
            approved = AgentStep.objects.filter(id=step_id, status=Step.WAITING).exclude(decided_at=None)
            approved.update(status=Step.RUNNING)
        # Read, not counted: a repetition after a lost answer finds its own mark.
        return set(AgentStep.objects.filter(id__in=list(step_ids), status=Step.RUNNING).values_list("id", flat=True))


def waiting(run_id: UUID) -> list[AgentStep]:
    """Return the calls that are not decided yet."""
    return list(AgentStep.objects.filter(run_id=run_id, status=Step.WAITING, decided_at=None).order_by("number"))


def park(run_id: UUID, state: dict[str, Any], **values: Any) -> bool:
    """Park the run until a decision. Returns False if all was decided meanwhile: then this process keeps the run."""
    with transaction.atomic():
        _guard(run_id, **values)  # locks the row: a decision sees the run parked, or we see the decision
        if not AgentStep.objects.filter(run_id=run_id, status=Step.WAITING, decided_at=None).exists():
            return False
        AgentRun.objects.filter(id=run_id).update(status=Status.WAITING_APPROVAL, state=state)
    return True


def take_up(run_id: UUID) -> AgentRun | None:
    """Take a parked run whose calls are all decided into this process; None if it is in another state or already taken."""
    with transaction.atomic():
        free = AgentRun.objects.select_for_update(of=("self",)).select_related("user")
        run = free.filter(parked(), id=run_id).first()
        if run is None or AgentStep.objects.filter(run_id=run_id, status=Step.WAITING, decided_at=None).exists():
            return None
        if not AgentRun.objects.filter(id=run_id, status=Status.WAITING_APPROVAL).update(status=Status.RUNNING, heartbeat_at=Now()):
            return None
    run.status = Status.RUNNING
    return run


def end(
    run_id: UUID, status: str, *, closed: Sequence[Closing] = (), still: QuerySet[AgentRun] | None = None, **values: Any
) -> bool:  # fmt: skip
    """End an open run with its open steps; return False if it had already ended (or is not among `still`)."""
    with transaction.atomic():
        ended = (AgentRun.objects.all() if still is None else still).filter(id=run_id, status__in=AgentRun.OPEN)
        if not ended.update(status=status, ended_at=timezone.now(), state={}, **values):
            return False
        for one in closed:
            AgentStep.objects.filter(id=one.step_id, status=one.was).update(**one.values)
        close_steps(run_id)
        news.send(AgentRun.objects.values_list("user_id", flat=True).get(id=run_id), news.Kind.RUN_CHANGED, run_id)
    return True


def complete(run_id: UUID, closed: Sequence[Closing], values: dict[str, Any]) -> None:
    """Add to a run that was ended elsewhere what only its own process has: the text and the usage."""
    with transaction.atomic():
        kept = {name: values[name] for name in ("output", "model", "input_tokens", "output_tokens", "cost_usd", "steps_done", "simulated")
                if name in values}  # fmt: skip
        AgentRun.objects.filter(id=run_id).exclude(status=Status.SUCCEEDED).update(**kept)
        for one in closed:
            used = {name: value for name, value in one.values.items() if name not in ("status", "ended_at", "error_code")}
            AgentStep.objects.filter(id=one.step_id).update(**used)


def close_steps(run_id: UUID) -> None:
    """Close the open steps of an ended run. A tool that was running may have done its work; its step says that this is unknown."""
    now = timezone.now()
    left = AgentStep.objects.filter(run_id=run_id)
    tools = left.filter(kind=AgentStep.Kind.TOOL, status=Step.RUNNING)
    tools.update(status=Step.ERROR, error_code=OUTCOME_UNKNOWN, ended_at=now)
    left.filter(status__in=(Step.RUNNING, Step.WAITING)).update(status=Step.CANCELLED, ended_at=now)


def gone(run_id: UUID) -> RunEnded:
    """Return the error that says why this process does not have the run."""
    status = AgentRun.objects.filter(id=run_id).values_list("status", flat=True).first()
    if status == Status.CANCELLED:
        return RunCancelled()
    return RunEnded("The run was given up: its process had been silent for too long.", code="interrupted")


def _guard(run_id: UUID, **values: Any) -> None:
    if not AgentRun.objects.filter(id=run_id, status__in=AgentRun.OPEN).update(heartbeat_at=Now(), **values):
        raise gone(run_id)


# --- money --------------------------------------------------------------------------------------


def totals(receipts: Sequence[Settled]) -> dict[str, Any]:
    """Return what the calls of a step or a run used and cost."""
    return {
        "input_tokens": sum(receipt.usage.input_tokens for receipt in receipts),
        "output_tokens": sum(receipt.usage.output_tokens for receipt in receipts),
        "cost_usd": sum((receipt.cost_usd for receipt in receipts), Decimal(0)),
    }


def booked(run: AgentRun) -> list[UsageLog]:
    """Return the vendor calls of a run as they were charged."""
    rows = UsageLog.objects.filter(user_id=run.user_id, created_at__gte=run.created_at - SKEW, group_id=run.id)
    if run.ended_at is not None:  # a row has the time at which its call was admitted
        rows = rows.filter(created_at__lte=run.ended_at + SKEW)
    return list(rows.order_by("created_at"))


def differs_from_books(run: AgentRun) -> bool:
    """Whether the cost of the run, or the sum of its steps, differs from the usage log."""
    cost = sum((row.cost_usd for row in booked(run)), Decimal(0))
    return cost != run.cost_usd or not _steps_add_up(run)


def count_from_books(run_id: UUID) -> bool:
    """Set the cost of the run and of its last model step from the usage log; return whether anything changed.

    For interrupted runs, whose process did not get or write the last receipt.
    """
    with transaction.atomic():
        run = AgentRun.objects.select_for_update().filter(id=run_id).first()
        if run is None:  # erased meanwhile
            return False
        rows = booked(run)
        tokens = {name: sum(getattr(row, name) for row in rows) for name in ("input_tokens", "output_tokens")}
        cost = sum((row.cost_usd for row in rows), Decimal(0))
        if not rows or (cost == run.cost_usd and tokens["output_tokens"] <= run.output_tokens and _steps_add_up(run)):
            return False
        if cost < run.cost_usd and Hold.objects.filter(status=Hold.Status.OPEN, call__group_id=str(run_id)).exists():
            return False  # the cost of a call that is being settled may stand on the run before it stands in the log
        models = list(AgentStep.objects.filter(run_id=run_id, kind=AgentStep.Kind.MODEL).order_by("number"))
        AgentRun.objects.filter(id=run_id).update(
            cost_usd=cost, model=run.model or rows[-1].model, simulated=any(row.simulated for row in rows), **tokens
        )
        if models:
            *before, last = models
            last.cost_usd = cost - sum((step.cost_usd for step in before), Decimal(0))
            last.input_tokens = max(0, tokens["input_tokens"] - sum(step.input_tokens for step in before))
            last.output_tokens = max(0, tokens["output_tokens"] - sum(step.output_tokens for step in before))
            last.call_id, last.name = last.call_id or rows[-1].call_id, last.name or rows[-1].model
            last.save(update_fields=["cost_usd", "input_tokens", "output_tokens", "call_id", "name"])
    return True


def _steps_add_up(run: AgentRun) -> bool:
    costs = AgentStep.objects.filter(run_id=run.id).values_list("cost_usd", flat=True)
    return sum(costs, Decimal(0)) == run.cost_usd


# --- for the watch and the sweeper --------------------------------------------------------------


def beat(run_ids: Sequence[UUID], texts: Mapping[UUID, str]) -> dict[UUID, str]:
    """Write the heartbeat of these runs and the text so far of some; return the statuses of those that are not open any more."""
    for run_id in sorted(texts):
        AgentRun.objects.filter(id=run_id, status__in=AgentRun.OPEN).update(output=texts[run_id])
    AgentRun.objects.filter(id__in=run_ids, status__in=AgentRun.OPEN).update(heartbeat_at=Now())
    ended = AgentRun.objects.filter(id__in=run_ids).exclude(status__in=AgentRun.OPEN)
    return dict(ended.values_list("id", "status"))


def own(user_id: UUID) -> QuerySet[AgentRun]:
    """Return the user's own runs, without those of deleted conversations, tasks and agents."""
    return AgentRun.objects.filter(user_id=user_id, hidden_at=None)


def hide(conversation_id: UUID) -> None:
    """Hide the runs of a deleted conversation."""
    AgentRun.objects.filter(conversation_id=conversation_id, hidden_at=None).update(hidden_at=Now())


def running_in(conversation_id: UUID) -> bool:
    """Whether a run of the conversation has not ended yet."""
    return AgentRun.objects.filter(conversation_id=conversation_id, status__in=AgentRun.OPEN).exists()


def erase(conversation_id: UUID) -> int:
    """Delete the runs of a conversation with their steps and return their number. Costs stay in the usage log."""
    AgentStep.objects.filter(run__conversation_id=conversation_id).delete()
    return AgentRun.objects.filter(conversation_id=conversation_id).delete()[0]


def to_show(run_id: UUID) -> AgentRun | None:
    """Return the run with the agent and the version that its JSON names."""
    return AgentRun.objects.select_related("agent", "version").filter(id=run_id).first()


def steps(run_id: UUID) -> list[AgentStep]:
    return list(AgentStep.objects.filter(run_id=run_id).order_by("number"))


def running(user_id: UUID) -> int:
    """Return the user's runs that a process works on, without those inside chats."""
    return AgentRun.objects.filter(user_id=user_id, status=Status.RUNNING, message_id=None).count()


def cancel(user_id: UUID, run_id: UUID) -> AgentRun:
    """Cancel the user's own run in any process, which stops within about a second. A run that has ended stays as it is."""
    run = own(user_id).filter(id=run_id).first()
    if run is None:
        raise NotFound
    end(run_id, Status.CANCELLED, finish_reason="cancelled")
    return to_show(run_id) or run


def parked() -> Q:
    """Return the runs that no process works on: their state is stored until a decision."""
    return Q(status=Status.WAITING_APPROVAL) & ~Q(state={})


def status(run_id: UUID) -> str:
    """Return the run's status; `cancelled` if its row was erased."""
    return AgentRun.objects.values_list("status", flat=True).filter(id=run_id).first() or Status.CANCELLED
