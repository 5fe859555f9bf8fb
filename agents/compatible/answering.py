"""What the endpoints of the compatible APIs share: who answers, the headers, and the encoding of a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from agents.calls import service as calls
from agents.calls import whole
from agents.calls.service import CallContext
from agents.calls.whole import Completion
from agents.compatible import agent_source
from agents.compatible.anthropic_messages import answer as anthropic_answer
from agents.compatible.google_generate import answer as google_answer
from agents.compatible.openai_responses import answer as responses_answer
from agents.events import Event, Settled, Started
from agents.messages import CompletionRequest
from aiagents.core.errors import AppError
from aiagents.core.http.endpoints import EventStream, Request
from aiagents.core.ids import uuid7

EventWriter = anthropic_answer.Events | google_answer.Chunks | responses_answer.Events


@dataclass(frozen=True, slots=True)
class Source:
    """Where an answer comes from: its events, or the whole of it."""

    stream: Callable[[CompletionRequest, CallContext], AsyncGenerator[Event, None]]
    complete: Callable[[CompletionRequest, CallContext], Coroutine[Any, Any, Completion]]


def source_of(model: str) -> Source:
    """Return the functions that answer: model calls for a model, runs for an agent."""
    if model.startswith(agent_source.PREFIX):
        return Source(agent_source.stream, agent_source.complete)
    return Source(calls.stream, whole.complete)


async def first_event(events: AsyncGenerator[Event, None]) -> Started:
    """Run a call up to its first token, so that an earlier failure gets its own HTTP status."""
    try:
        async for event in events:
            if isinstance(event, Started):
                return event
    except BaseException:
        await events.aclose()
        raise
    raise AssertionError("a call starts or raises")


def context_of(
    request: Request, surface: str, model: str, fallbacks: tuple[str, ...] = (), max_cost_usd: Decimal | None = None
) -> CallContext:
    assert request.principal
    if request.claim is not None and (agent := agent_source.reference(model)):
        request.claim.reference = agent  # the stored answer is withdrawn when its owner deletes the agent
    return CallContext(
        principal=request.principal,
        purpose="api",
        surface=surface,
        request_id=request.request_id,
        group_id=uuid7(),
        requested_model=model,
        fallbacks=fallbacks,
        max_cost_usd=max_cost_usd,
    )


def cost_headers(settled: list[Settled]) -> dict[str, str]:
    cost = sum((one.cost_usd for one in settled), Decimal(0))
    return {"x-aiagents-model": settled[0].model, "x-aiagents-cost-usd": f"{cost:f}", **route_headers(*settled)}


def route_headers(*answers: Started | Settled) -> dict[str, str]:
    """Return the headers of the route: our own limit of the output, the smallest of several answers, and tools not offered."""
    dropped = answers[0].route.get("dropped_tools")
    found = {"x-aiagents-dropped-tools": ", ".join(dropped)} if dropped else {}
    limits = [limit for answer in answers if (limit := answer.route.get("output_limit"))]
    if not limits:
        return found
    smallest = min(limits, key=lambda limit: limit["tokens"])
    return found | {"x-aiagents-max-output-tokens": str(smallest["tokens"]), "x-aiagents-output-limited-by": smallest["limited_by"]}


def event_stream(
    request: Request, events: AsyncGenerator[Event, None], writer: EventWriter, headers: dict[str, str] | None = None
) -> EventStream:
    chunks, failure = encoded(request.request_id, events, writer), partial(writer.failure, request_id=request.request_id)
    return EventStream(chunks, headers or {}, failure=failure)


async def encoded(request_id: str, events: AsyncGenerator[Event, None], writer: EventWriter) -> AsyncGenerator[bytes, None]:
    """Yield a call's events as the writer encodes them. Errors after the start of the stream become its error events."""
    async with aclosing(events):
        yield writer.opening()
        try:
            async for event in events:
                if type(event) is Settled:
                    yield writer.finish(event)
                elif piece := writer.event(event):
                    yield piece
        except AppError as exc:
            yield writer.failure(exc, request_id)
