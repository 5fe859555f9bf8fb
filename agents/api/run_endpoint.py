"""Runs beside Django: `POST /api/v1/agents/{id}/run`, whole or as Server-Sent Events, and `GET /api/v1/agents/runs/{id}/events`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.authentication import Principal
from accounts.models import User
from agents.api.run_request import RunRequest
from agents.calls.service import CallContext
from agents.definitions import definition as definitions
from agents.definitions.definition import Definition
from agents.events import Failed
from agents.models import AgentRun
from agents.runs import as_json as run_json
from agents.runs import live as live_runs
from agents.runs import service as runner
from agents.runs import store as run_store
from agents.runs import stored
from agents.runs.live import LiveRun
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Conflict, NotFound, RateLimited
from aiagents.core.http import sse
from aiagents.core.http.endpoints import EventStream, Request, Response, json_response
from aiagents.core.http.idempotency import Store, begin_once
from aiagents.core.ids import uuid7
from aiagents.core.live.event_log import Line
from aiagents.core.stored_errors import StoredError
from aiagents.core.validation import parse


async def run(request: Request) -> Response | EventStream:
    """Run an agent: answered whole, or with `"stream": true` as events. The run goes on when the client leaves."""
    body = await request.read(partial(parse, RunRequest))
    streamed = body.stream or "text/event-stream" in request.headers.get("accept", "")
    found = await _begin(request, body.input, body.max_cost_usd, "sse" if streamed else "rest")
    replayed = {} if isinstance(found, LiveRun) else {"Idempotent-Replayed": "true"}
    if isinstance(found, UUID):
        found = live_runs.find(found) or found
    if streamed:
        return await _as_stream(_principal(request), found, replayed)
    return await _as_whole(found, replayed)


async def _begin(request: Request, text: str, max_cost: Decimal | None, surface: str) -> LiveRun | UUID:
    """The run that this request starts, or the id of the one that an earlier request with its Idempotency-Key made."""
    principal = _principal(request)
    definition = await in_db(definitions.visible, principal.user, agent_id=request.id)

    return await begin_once(
        request, "run_id", lambda store: start(principal, definition, text, max_cost, surface, request.request_id, store)
    )


async def start(
    principal: Principal, definition: Definition, text: str, max_cost: Decimal | None, surface: str, request_id: str, store: Store
) -> LiveRun:
    """The run, going on by itself from now. Raises RateLimited when too many of the user's runs go on."""

    def with_row(row: AgentRun) -> None:
        """In the transaction that opens the run, so that two requests at once do not start one run too many."""
        User.objects.hold(principal.user_id)
        if run_store.running(principal.user_id) > settings.MAX_CONCURRENT_RUNS_PER_USER:  # this one included
            raise RateLimited("Too many of your runs are going on; wait for one to end.", code="too_many_runs", retry_after=2)
        store(row.id)

    run_id = uuid7()
    context = CallContext(
        principal=principal, purpose="agent", surface=surface, request_id=request_id, group_id=run_id, max_cost_usd=max_cost
    )
    loop = await runner.begin(runner.question(text), context, definition=definition, pause=True, run_id=run_id, with_row=with_row)
    return live_runs.start(run_id, loop.events(), request_id)


async def _as_whole(found: LiveRun | UUID, headers: dict[str, str]) -> Response:
    if isinstance(found, LiveRun):
        ending = await found.finished()
    else:
        row, shown = await _stored(found)
        ending = stored.ending(row, shown, None, row.request_id)
    if isinstance(ending, Failed):
        run_id = (ending.kept["run"] or {}).get("id")
        raise StoredError(ending.error, {"run_id": run_id} if run_id else {})
    run = ending.message
    return json_response(run, 202 if run["status"] == AgentRun.Status.WAITING_APPROVAL else 200, headers)


async def _as_stream(principal: Principal, found: LiveRun | UUID, headers: dict[str, str]) -> EventStream:
    if isinstance(found, LiveRun):
        return EventStream(_as_events(found.view()), {"X-Run-ID": str(found.id), **headers})
    return EventStream(_as_events(await live_runs.attach(principal.user_id, found)), {"X-Run-ID": str(found), **headers})


async def _stored(run_id: UUID) -> tuple[AgentRun, dict[str, Any]]:
    found = await in_db(run_json.whole, run_id)
    if found is None:
        raise NotFound
    if found[0].status == AgentRun.Status.RUNNING:
        raise Conflict("The first request with this Idempotency-Key still runs.", code="idempotency_in_progress", retry_after=2)
    return found


async def events(request: Request) -> EventStream:
    """A run's events from `Last-Event-ID` (or `?after=`) on; from the first without it."""
    after = sse.last_event_id(request.headers, request.query, "run")
    return EventStream(_as_events(await live_runs.attach(_principal(request).user_id, request.id, after)))


async def _as_events(lines: AsyncGenerator[Line, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(lines):
        async for seq, kind, data in lines:
            yield sse.event(kind, data, seq)


def _principal(request: Request) -> Principal:
    assert request.principal is not None, "this endpoint is authenticated"
    return request.principal
