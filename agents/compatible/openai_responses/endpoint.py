"""`/v1/responses`: make an answer, and read or delete one that was kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from agents.compatible.answering import context_of, cost_headers, encoded, first_event, route_headers, source_of
from agents.compatible.openai_responses import answer as writing
from agents.compatible.openai_responses import kept
from agents.compatible.openai_responses.request import ResponseCall, read, read_unless_it_refers
from agents.counting import service as counting
from aiagents.core.errors import InvalidRequest
from aiagents.core.http.endpoints import EventStream, Request, Response, json_response
from aiagents.core.jsonio import dumps


async def responses(request: Request) -> Response | EventStream:
    """`POST /v1/responses`."""
    parsed = await _parsed(request)
    context, source = context_of(request, "openai", parsed.model), source_of(parsed.model)
    keep = partial(kept.keep, parsed.body, parsed.before, _owner(request)) if kept.wanted(parsed.body) else None
    if not parsed.stream:
        answer = await source.complete(parsed.request, context)
        body, written = writing.whole(answer, parsed.body)
        if keep is not None:
            await keep(written)
        return Response(body=body, headers=cost_headers([answer.settled]))
    events = source.stream(parsed.request, context)
    started = await first_event(events)
    writer = writing.Events(started, parsed.body)
    chunks = encoded(request.request_id, events, writer)
    failure = partial(writer.failure, request_id=request.request_id)
    return EventStream(_kept(chunks, writer, keep) if keep is not None else chunks, route_headers(started), failure=failure)


async def input_tokens(request: Request) -> Response:
    """`POST /v1/responses/input_tokens`: free of charge."""
    parsed = await _parsed(request, counting=True)
    found = await counting.count(parsed.request, context_of(request, "openai", parsed.model))
    body = {"object": "response.input_tokens", "input_tokens": found.tokens}
    return Response(body=dumps(body), headers={"x-aiagents-counted-by": found.source})


async def response_detail(request: Request) -> Response:
    """`GET /v1/responses/{response}`: an answer that was kept, as its client got it."""
    if request.query.get("stream") == "true":
        raise InvalidRequest("A kept response is not streamed again.", param="stream", code="unsupported_parameter")
    return json_response(await kept.retrieve(request.path_args["response"], _owner(request)))


async def response_delete(request: Request) -> Response:
    """`DELETE /v1/responses/{response}`."""
    id = request.path_args["response"]
    await kept.delete(id, _owner(request))
    return json_response({"id": id, "object": "response", "deleted": True})


def _owner(request: Request) -> str:
    assert request.principal
    return str(request.principal.user_id)


async def _parsed(request: Request, *, counting: bool = False) -> ResponseCall:
    """Parse the body after what it refers to was put into it. The answer repeats the fields that the client sent."""
    parsed = await request.read(partial(read_unless_it_refers, counting=counting))
    if isinstance(parsed, ResponseCall):
        return parsed
    body = dict(parsed)
    found = await kept.expanded(body, _owner(request), request.max_values)
    call = await asyncio.to_thread(read, found.body, counting=counting)
    return replace(call, body=body, before=found.before)


async def _kept(
    chunks: AsyncGenerator[bytes, None], writer: writing.Events, keep: Callable[[kept.Written], Awaitable[None]]
) -> AsyncGenerator[bytes, None]:
    """Yield the stream; the answer is kept before its client gets the end of it, and may refer to it."""
    done = False
    async with aclosing(chunks):
        async for piece in chunks:
            if writer.written is not None and not done:
                done = True
                await keep(writer.written)
            yield piece
