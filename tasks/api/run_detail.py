"""A run with its attempts, their steps, and its webhook's delivery."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, TypedDict

from django.urls import reverse
from rest_framework.request import Request

from agents.models import AgentRun, AgentStep
from agents.runs import as_json as agent_run_json
from agents.runs import step_pages
from aiagents.core.drf.typed_dicts import Choices, Id, Time
from aiagents.core.jsonio import money
from tasks.models import Status, TaskAttempt, TaskRun, WebhookDelivery
from tasks.runs import as_json as run_json


class Attempt(TypedDict):
    """One attempt of a run. `steps` are as `GET /api/v1/agents/runs/{id}` answers them."""

    number: int
    status: Annotated[str, Choices(Status)]
    error: dict[str, Any] | None
    started_at: Time
    ended_at: Time | None
    cost_usd: str
    agent_run_id: Annotated[Id, "approve and reject its tool calls under /api/v1/agents/runs/"]
    waits_for: Annotated[list[str], "call ids that wait for approval"]
    steps: Annotated[list[dict[str, Any]], "model and tool calls, in order"]


class Delivery(TypedDict):
    """The message to the task's webhook."""

    id: Annotated[Id, "the message's `webhook-id`"]
    event: str
    state: str
    attempts: int
    response_status: int | None
    error: str
    next_attempt_at: Time | None
    delivered_at: Time | None


def as_json(run: TaskRun, request: Request) -> dict[str, Any]:
    """Return the run as `RunDetailSerializer` describes it. The request may name the first step by `steps_after`."""
    attempts = list(run.attempts.order_by("number"))
    run_ids = [attempt.agent_run_id for attempt in attempts]
    attempt_number, step_number = step_pages.position(request.query_params.get(step_pages.PARAMETER))
    page = step_pages.read(run_ids, (sum(one.number < attempt_number for one in attempts), step_number))
    waiting = step_pages.waits_for(run_ids)
    costs = dict(AgentRun.objects.filter(pk__in=run_ids).values_list("pk", "cost_usd"))
    url = request.build_absolute_uri(reverse("tasks:run", args=[run.task_id, run.pk]))
    delivery = run.deliveries.defer("body").first()
    return {
        **run_json.whole(run),
        "attempts": [
            _attempt(one, costs.get(one.agent_run_id, Decimal(0)), waiting[one.agent_run_id], page.of(one.agent_run_id)) for one in attempts
        ],
        "steps_next": None if page.next is None else f"{url}?{step_pages.PARAMETER}={attempts[page.next[0]].number}.{page.next[1]}",
        "webhook": None if delivery is None else _delivery(delivery),
    }


def _attempt(attempt: TaskAttempt, cost: Decimal, waits_for: list[str], steps: list[AgentStep]) -> Attempt:
    return {
        "number": attempt.number,
        "status": attempt.status,
        "error": attempt.error,
        "started_at": run_json.time(attempt.started_at) or "",
        "ended_at": run_json.time(attempt.ended_at),
        "cost_usd": money(cost),
        "agent_run_id": str(attempt.agent_run_id),
        "waits_for": waits_for,
        "steps": [agent_run_json.step(step) for step in steps],
    }


def _delivery(delivery: WebhookDelivery) -> Delivery:
    pending = delivery.state == WebhookDelivery.State.PENDING
    return {
        "id": str(delivery.id),
        "event": delivery.event,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "response_status": delivery.response_status,
        "error": delivery.error,
        "next_attempt_at": run_json.time(delivery.next_attempt_at) if pending else None,
        "delivered_at": run_json.time(delivery.delivered_at),
    }
