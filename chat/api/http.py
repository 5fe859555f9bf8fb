"""A conversation over HTTP: send, stream, re-attach, cancel, regenerate, edit and route. `aiagents/endpoints.py` serves them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from uuid import UUID

from accounts.authentication import Principal
from agents.calls import service as calls
from agents.calls.service import CallContext
from agents.runs import service as runner
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Conflict
from aiagents.core.http import sse
from aiagents.core.http.endpoints import EventStream, Request, Response, json_response
from aiagents.core.http.idempotency import Store, begin_once
from aiagents.core.ids import uuid7
from aiagents.core.live.event_log import Line
from aiagents.core.stored_errors import StoredError
from chat import turn_request
from chat.conversations import as_json as message_json
from chat.conversations import history
from chat.models import Message
from chat.turn_request import EditRequest, RegenerateRequest, TurnRequest
from chat.turns import agent_partner
from chat.turns import service as turns
from chat.turns import store as turn_store

_ENDED_WELL = ("complete", "cancelled")


# --- the endpoints ------------------------------------------------------------------------------


async def send(request: Request) -> Response:
    """One turn, answered whole."""
    wanted = await request.read(turn_request.read)
    return await _whole(request, wanted)


async def stream(request: Request) -> EventStream:
    """The same turn as Server-Sent Events."""
    wanted = await request.read(turn_request.read)
    return await _streamed(request, wanted)


async def regenerate(request: Request) -> Response | EventStream:
    """Another answer to the same question, beside the first; `continue` takes up its text."""
    wanted = await request.read(partial(turn_request.read, model=RegenerateRequest))
    return await _either(request, replace(wanted, regenerate_of=request.id))


async def edit(request: Request) -> Response | EventStream:
    """Another question beside the first, with its own answer."""
    wanted = await request.read(partial(turn_request.read, model=EditRequest))
    return await _either(request, replace(wanted, edit_of=request.id))


async def reattach(request: Request) -> EventStream:
    """A turn's events from `Last-Event-ID` (or `?after=`) on; from the first without it."""
    after = sse.last_event_id(request.headers, request.query, "turn")
    return EventStream(_as_events(await turns.attach(_principal(request), request.id, after)))


async def cancel(request: Request) -> Response:
    """Stop writing. 202 where the process that writes did not answer in time."""
    answer = await turns.cancel(_principal(request), request.id)
    return json_response({"message": answer}, 202 if answer["status"] in Message.RUNNING else 200)


async def route(request: Request) -> Response:
    """Which model would answer and why; nothing is called or saved."""
    wanted = await request.read(turn_request.read)
    principal = _principal(request)
    await history.check_models(wanted)
    planned = await in_db(turn_store.plan, principal.user, wanted)
    wanted, branch, agent = planned.request, planned.branch, planned.agent
    reserved, share = await agent_partner.reserve(agent) if agent else (0, 1.0)
    fitted = await history.fit(wanted, branch, None, reserved, share, planned.unread)
    asked = fitted.request if agent is None else await runner.as_asked(fitted.request, agent)
    context = CallContext(
        principal=principal, purpose="chat", surface="rest", request_id=request.request_id, group_id=uuid7(),
        requested_model=wanted.model or "auto", goal=wanted.goal or "", fallbacks=wanted.fallbacks, max_cost_usd=wanted.max_cost_usd,
        **history.last_answer(branch),
    )  # fmt: skip
    return json_response({**await calls.preview(asked, context), "history": fitted.explained()})


# --- how a turn is answered ---------------------------------------------------------------------


async def _either(request: Request, wanted: TurnRequest) -> Response | EventStream:
    if "text/event-stream" in request.headers.get("accept", ""):
        return await _streamed(request, wanted)
    return await _whole(request, wanted)


async def _whole(request: Request, wanted: TurnRequest) -> Response:
    principal = _principal(request)
    found = await _begin(request, wanted, "rest")
    if isinstance(found, turns.Turn):
        answer = await found.finished()
        headers = {}
    else:
        stored = await turns.message_of(principal, found)
        if stored.status in Message.RUNNING:
            raise Conflict("The first request with this Idempotency-Key still runs.", code="idempotency_in_progress", retry_after=2)
        answer = message_json.answer(stored)
        headers = {"Idempotent-Replayed": "true"}
    if answer["status"] not in _ENDED_WELL:
        ids = {"message_id": answer["id"], "conversation_id": answer["conversation_id"], "user_message_id": answer["parent_id"]}
        raise StoredError(answer["error"], ids)  # with the ids under which its text can be read
    question = await _question(found, UUID(answer["parent_id"]))
    body = {"conversation_id": answer["conversation_id"], "user_message": message_json.question(question), "message": answer}
    return json_response(body, headers=headers)


async def _question(found: turns.Turn | UUID, question_id: UUID) -> Message:
    return found.opened.question if isinstance(found, turns.Turn) else await in_db(Message.objects.get, id=question_id)


async def _streamed(request: Request, wanted: TurnRequest) -> EventStream:
    found = await _begin(request, wanted, "sse")
    if isinstance(found, turns.Turn):
        headers = {"X-Message-ID": str(found.message_id), "X-Conversation-ID": str(found.conversation_id)}
        return EventStream(_as_events(found.view()), headers)
    headers = {"X-Message-ID": str(found), "Idempotent-Replayed": "true"}
    return EventStream(_as_events(await turns.attach(_principal(request), found)), headers)


async def _as_events(lines: AsyncGenerator[Line, None]) -> AsyncGenerator[bytes, None]:
    """SSE bytes of a view. The turn itself goes on when the view ends early, by its client or by its client's credential."""
    async with aclosing(lines):
        async for seq, kind, data in lines:
            yield sse.event(kind, data, seq)


async def _begin(request: Request, wanted: TurnRequest, surface: str) -> turns.Turn | UUID:
    """The turn that this request starts; or the message that an earlier request with its Idempotency-Key made."""
    principal = _principal(request)

    async def start(store: Store) -> turns.Turn:
        return await turns.start(principal, wanted, surface=surface, request_id=request.request_id, with_answer=store)

    return await begin_once(request, "message_id", start)


def _principal(request: Request) -> Principal:
    assert request.principal is not None, "these endpoints are authenticated"
    return request.principal
