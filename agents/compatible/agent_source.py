"""Agents as models of the compatible APIs (`model: "agent:<slug>"`), with the functions of `agents.calls.service`.

The product runs the agent's tools and does not show their calls. The usage is the sum of all model calls. The caller may
not send tools.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import astuple, replace
from decimal import Decimal
from typing import Any

from accounts.authentication import Principal
from agents.calls.service import CallContext
from agents.calls.whole import Completion, Parts
from agents.definitions import definition as definitions
from agents.definitions.definition import AgentNotFound, Definition
from agents.events import Event, FinishReason, ReasoningDelta, RouteFallback, Settled, Started, Stopped, TextDelta
from agents.messages import CompletionRequest
from agents.models import Agent
from agents.runs import service as runner
from aiagents.core import jsonio
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError, InvalidRequest, ModelNotFound
from billing.pricing import Usage

PREFIX = "agent:"
# Finish reasons of agents as those that the compatible APIs know.
_FINISH: dict[FinishReason, FinishReason] = {"max_steps": "stop", "max_cost": "length", "max_seconds": "length", "tool_calls": "stop"}
_MOST_LISTED = 200


def reference(model: str) -> dict[str, str]:
    """Return the reference from a stored idempotent answer to its agent; empty for a model."""
    return {"agent": model.removeprefix(PREFIX)} if model.startswith(PREFIX) else {}


async def stream(request: CompletionRequest, context: CallContext) -> AsyncGenerator[Event, None]:
    """Yield events as `calls.stream`: Started once, the text of all steps, one Settled with the sum of all calls."""
    if request.tools:
        raise InvalidRequest("An agent uses its own tools. Remove `tools` from the request.", param="tools", code="tools_with_agent")
    if request.native is not None and request.native.untranslatable is not None:
        raise request.native.untranslatable
    # Each step has messages of its own.
    request = replace(request, native=None)
    await asyncio.to_thread(_check_stored, request)
    definition = await in_db(_definition, context)
    receipts: list[Settled] = []
    last, reason, started = None, None, False
    source = runner.stream(request, replace(context, requested_model="auto"), receipts, definition=definition)
    async with aclosing(source) as events:
        async for event in events:
            match event:
                case TextDelta() | ReasoningDelta():
                    yield event
                case Started() | RouteFallback() if not started:
                    started = isinstance(event, Started)
                    yield event
                case Settled():
                    last = event
                case Stopped():
                    reason = event.finish_reason
    if last is None:
        raise AppError  # the run ended without a model call and without an error
    yield _sum(last, reason or last.finish_reason, receipts)


async def complete(request: CompletionRequest, context: CallContext) -> Completion:
    """Return the whole answer, as `whole.complete`."""
    parts = Parts()
    async with aclosing(stream(request, context)) as events:
        async for event in events:
            match event:
                case TextDelta() | ReasoningDelta():
                    parts.add(event)
                case Settled():
                    return Completion(parts.all(), event)
    raise AssertionError("stream ends with Settled or raises")


async def list_agents(principal: Principal) -> list[tuple[str, str, str]]:
    """Return (id, name, owner's name) of the agents that the caller may use as models."""
    return await in_db(_list_agents, principal)


def _list_agents(principal: Principal) -> list[tuple[str, str, str]]:
    agents = Agent.objects.visible_to(principal.user).filter(enabled=True).exclude(version=None).order_by("slug")
    shown = agents.select_related("user").only("slug", "name", "user__name", "user__email")[:_MOST_LISTED]
    return [(PREFIX + agent.slug, agent.name, agent.user.display_name) for agent in shown]


def _check_stored(request: CompletionRequest) -> None:
    """Raise InvalidRequest for texts with NUL: a run stores its prompt, and a call of a model does not."""
    jsonio.check_strings(astuple(request))


def _definition(context: CallContext) -> Definition:
    try:
        return definitions.visible(context.principal.user, slug=context.requested_model.removeprefix(PREFIX))
    except AgentNotFound as exc:
        raise ModelNotFound(f"The model {context.requested_model[:100]!r} does not exist or is not available here.", param="model") from exc


def _sum(last: Settled, reason: Any, receipts: list[Settled]) -> Settled:
    return replace(
        last,
        finish_reason=_FINISH.get(reason, reason),
        usage=sum((one.usage for one in receipts), Usage()),
        cost_usd=sum((one.cost_usd for one in receipts), Decimal(0)),
        estimated=any(one.estimated for one in receipts),
        latency_ms=sum(one.latency_ms for one in receipts),
        ttft_ms=receipts[0].ttft_ms,
        simulated=any(one.simulated for one in receipts),
    )
