"""The compatible APIs: any OpenAI or Anthropic client works after a change of base URL and key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from agents.calls import whole
from agents.calls.service import CallContext
from agents.calls.whole import Completion
from agents.compatible import agent_source
from agents.compatible import openai_embeddings as embeddings_wire
from agents.compatible.answering import Source, context_of, cost_headers, event_stream, first_event, route_headers, source_of
from agents.compatible.anthropic_messages import answer as anthropic_answer
from agents.compatible.anthropic_messages import request as anthropic_request
from agents.compatible.openai_chat import answer as openai_answer
from agents.compatible.openai_chat import request as openai_request
from agents.counting import estimate
from agents.counting import service as counting
from agents.counting.estimate import Counted
from agents.events import Event, Settled, Started
from agents.messages import CompletionRequest
from agents.routing import connections
from agents.routing.candidates import GOALS
from aiagents.core.errors import AppError, ModelNotFound
from aiagents.core.http.endpoints import EventStream, Request, Response
from aiagents.core.jsonio import dumps
from billing.catalogue import snapshot as catalogue

Handler = Callable[[Request], Awaitable[Response | EventStream]]


# --- OpenAI -------------------------------------------------------------------------------------


async def chat_completions(request: Request) -> Response | EventStream:
    """`POST /v1/chat/completions`."""
    parsed = await request.read(openai_request.read)
    context = context_of(request, "openai", parsed.model, parsed.fallbacks, parsed.max_cost_usd)
    source = source_of(parsed.model)
    if not parsed.stream:
        answers = await _complete_all(source, parsed.request, context, parsed.n)
        return Response(body=openai_answer.whole(request.request_id, answers), headers=cost_headers([one.settled for one in answers]))
    if parsed.n == 1:
        events = source.stream(parsed.request, context)
        started = await first_event(events)
        chunks = _openai_stream(request.request_id, events, started, parsed.include_usage)
        return EventStream(chunks, route_headers(started), failure=_openai_failure(request))
    return await _openai_many(source, request, parsed, context)


async def _complete_all(source: Source, request: CompletionRequest, context: CallContext, n: int) -> list[Completion]:
    if n == 1:
        return [await source.complete(request, context)]
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(source.complete(request, context)) for _ in range(n)]
    return [task.result() for task in running]


async def _openai_stream(
    request_id: str, events: AsyncGenerator[Event, None], started: Started, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    chunks = openai_answer.Chunks(started, include_usage)
    async with aclosing(events):
        yield chunks.opening(0)
        try:
            async for event in events:
                if type(event) is Settled:
                    yield chunks.finish(event, 0) + chunks.ending([event])
                elif piece := chunks.event(event, 0):
                    yield piece
        except AppError as exc:
            yield openai_answer.error_event(exc, request_id)


async def _openai_many(source: Source, request: Request, parsed: openai_request.ChatCompletion, context: CallContext) -> EventStream:
    """Stream `n` choices: one paid call for each, at the same time, with interleaved chunks."""
    streams = [source.stream(parsed.request, context) for _ in range(parsed.n)]
    results = await asyncio.gather(*map(first_event, streams), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        await asyncio.gather(*(events.aclose() for events in streams), return_exceptions=True)
        raise failed[0]
    started = [result for result in results if isinstance(result, Started)]
    chunks = _interleaved(request.request_id, streams, started[0], parsed.include_usage)
    return EventStream(chunks, route_headers(*started), failure=_openai_failure(request))


def _openai_failure(request: Request) -> Callable[[AppError], bytes]:
    return partial(openai_answer.error_event, request_id=request.request_id)


async def _interleaved(
    request_id: str, streams: list[AsyncGenerator[Event, None]], started: Started, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    chunks = openai_answer.Chunks(started, include_usage)
    queue: asyncio.Queue[tuple[int, Event | AppError]] = asyncio.Queue(maxsize=64)

    async def pump(index: int, events: AsyncGenerator[Event, None]) -> None:
        async with aclosing(events):
            try:
                async for event in events:
                    await queue.put((index, event))
            except AppError as exc:
                await queue.put((index, exc))

    settled: list[Settled] = []
    pumps = [asyncio.create_task(pump(index, events)) for index, events in enumerate(streams)]
    try:
        yield b"".join(chunks.opening(index) for index in range(len(streams)))
        while len(settled) < len(streams):
            index, event = await queue.get()
            if isinstance(event, AppError):
                yield openai_answer.error_event(event, request_id)
                return
            if isinstance(event, Settled):
                settled.append(event)
                yield chunks.finish(event, index)
            elif piece := chunks.event(event, index):
                yield piece
        yield chunks.ending(settled)
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def embeddings(request: Request) -> Response:
    """`POST /v1/embeddings`."""
    parsed = await request.read(embeddings_wire.read, most_values=embeddings_wire.MOST_VALUES)
    embedding = await whole.embed(parsed.request, context_of(request, "openai", parsed.model, parsed.fallbacks, parsed.max_cost_usd))
    return Response(body=await embeddings_wire.whole(embedding, parsed.encoding), headers=cost_headers([embedding.settled]))


# --- Anthropic ----------------------------------------------------------------------------------


async def messages(request: Request) -> Response | EventStream:
    """`POST /v1/messages`."""
    parsed = await request.read(partial(anthropic_request.read, headers=anthropic_request.vendor_headers(request.headers)))
    context, source = context_of(request, "anthropic", parsed.model), source_of(parsed.model)
    name = {"request-id": request.request_id}
    if not parsed.stream:
        answer = await source.complete(parsed.request, context)
        return Response(body=answer.native or anthropic_answer.whole(answer), headers=cost_headers([answer.settled]) | name)
    events = source.stream(parsed.request, context)
    started = await first_event(events)
    writer = anthropic_answer.Events(started, await _estimated(parsed.request, started))
    return event_stream(request, events, writer, name | route_headers(started))


async def _estimated(request: CompletionRequest, started: Started) -> int:
    """Return the input tokens to show before the vendor reports them; 0 where the client gets the vendor's own events."""
    if started.native:
        return 0
    card = (await catalogue.current()).cards.get(started.model)
    return await estimate.tokens(request, Counted(started.provider, card.vendor_model if card else started.model))


async def count_tokens(request: Request) -> Response:
    """`POST /v1/messages/count_tokens`: free of charge."""
    headers = anthropic_request.vendor_headers(request.headers)
    parsed = await request.read(partial(anthropic_request.read, counting=True, headers=headers))
    found = await counting.count(parsed.request, context_of(request, "anthropic", parsed.model))
    return Response(body=dumps({"input_tokens": found.tokens}), headers={"x-aiagents-counted-by": found.source})


# --- Models -------------------------------------------------------------------------------------


async def model_rows(request: Request) -> list[dict[str, Any]]:
    """Return the models and agents that the caller may request, with the fields of OpenAI and Anthropic."""
    configured = await connections.configured()
    rows: list[dict[str, Any]] = [_row("auto", "Auto", "aiagents"), *(_row(f"auto:{goal}", f"Auto ({goal})", "aiagents") for goal in GOALS)]
    rows += [
        _row(card.slug, card.display_name, card.provider, "embeddings" if card.embeds else "chat")
        for card in (await catalogue.current()).usable()
        if card.slug in configured
    ]
    return rows + [_row(slug, name, owner) for slug, name, owner in await agent_source.list_agents(request.principal)]


def _row(slug: str, name: str, owner: str, kind: str = "chat") -> dict[str, Any]:
    """Return one model with OpenAI's and Anthropic's fields side by side, and our field `kind`."""
    return {
        "kind": kind,
        "id": slug, "object": "model", "created": 1700000000, "owned_by": owner,
        "type": "model", "display_name": name, "created_at": "2023-11-14T22:13:20Z",
    }  # fmt: skip


async def model_list(request: Request) -> Response:
    """`GET /v1/models`."""
    rows = await model_rows(request)
    return Response(body=dumps({"object": "list", "data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}))


async def model_detail(request: Request) -> Response:
    """`GET /v1/models/{id}`, by any name of the model; the answer has its slug. An id may hold slashes and colons."""
    return Response(body=dumps(await model_row(request)))


async def model_row(request: Request) -> Mapping[str, Any]:
    """Return the model of the path. Raises ModelNotFound or AmbiguousModel."""
    wanted = request.path_args["model"]
    rows = {row["id"]: row for row in await model_rows(request)}
    found = rows.get(wanted)
    if found is None and not wanted.startswith(agent_source.PREFIX):
        found = rows.get((await catalogue.current()).get(wanted).slug)
    if found is None:
        raise ModelNotFound(f"The model {wanted[:100]!r} does not exist or is not available here.", param="model")
    return found
