"""Gemini's API: google-genai and other clients of Google's work after a change of base URL and key."""

from __future__ import annotations

from functools import partial

from agents.calls import whole
from agents.compatible import routes
from agents.compatible.answering import context_of, cost_headers, encoded, first_event, route_headers, source_of
from agents.compatible.google_generate import answer, embeddings, models
from agents.compatible.google_generate import request as google_request
from agents.counting import service as counting
from agents.messages import EmbeddingRequest
from aiagents.core.errors import InvalidRequest
from aiagents.core.http.endpoints import EventStream, Request, Response
from aiagents.core.jsonio import dumps
from billing.catalogue import snapshot as catalogue

_SURFACE, _KEY = "google", "x-goog-api-key"


async def generate_content(request: Request) -> Response:
    """`POST …/models/{model}:generateContent`."""
    parsed = await request.read(google_request.read)
    context = context_of(request, _SURFACE, request.path_args["model"])
    found = await source_of(context.requested_model).complete(parsed, context)
    return Response(body=found.native or answer.whole(found), headers=cost_headers([found.settled]))


async def stream_generate_content(request: Request) -> EventStream:
    """`POST …/models/{model}:streamGenerateContent`: Server-Sent Events with `?alt=sse`, else one JSON array that grows."""
    parsed = await request.read(google_request.read)
    form = request.query.get("alt", "json")
    if form not in ("sse", "json"):
        raise InvalidRequest("alt must be sse or json.", param="alt")
    context = context_of(request, _SURFACE, request.path_args["model"])
    events = source_of(context.requested_model).stream(parsed, context)
    started = await first_event(events)
    writer = answer.Chunks(started, sse=form == "sse")
    headers = route_headers(started)
    chunks, failure = encoded(request.request_id, events, writer), partial(writer.failure, request_id=request.request_id)
    if form == "sse":
        return EventStream(chunks, headers, failure=failure)
    return EventStream(chunks, headers | {"content-type": "application/json; charset=utf-8"}, failure=failure, heartbeat=b" ")


async def count_tokens(request: Request) -> Response:
    """`POST …/models/{model}:countTokens`: free of charge."""
    parsed = await request.read(lambda body: google_request.read(google_request.for_counting(body)))
    found = await counting.count(parsed, context_of(request, _SURFACE, request.path_args["model"]))
    return Response(body=dumps({"totalTokens": found.tokens}), headers={"x-aiagents-counted-by": found.source})


async def embed_content(request: Request) -> Response:
    """`POST …/models/{model}:embedContent`."""
    return await _embed(request, await request.read(embeddings.read_one), batch=False)


async def batch_embed_contents(request: Request) -> Response:
    """`POST …/models/{model}:batchEmbedContents`."""
    return await _embed(request, await request.read(embeddings.read), batch=True)


async def _embed(request: Request, parsed: EmbeddingRequest, *, batch: bool) -> Response:
    found = await whole.embed(parsed, context_of(request, _SURFACE, request.path_args["model"]))
    return Response(body=await embeddings.whole(found, batch=batch), headers=cost_headers([found.settled]))


async def model_list(request: Request) -> Response:
    """`GET /v1beta/models`."""
    cards = (await catalogue.current()).cards
    rows = [models.model(row, cards.get(row["id"])) for row in await routes.model_rows(request)]
    return Response(body=dumps(models.page(rows, request.query)))


async def model_detail(request: Request) -> Response:
    """`GET /v1beta/models/{model}`."""
    row = await routes.model_row(request)
    return Response(body=dumps(models.model(row, (await catalogue.current()).cards.get(row["id"]))))


async def v1_model_list(request: Request) -> Response:
    """`GET /v1/models`: in Google's shape for a client that sends its key as Google's do, else in OpenAI's and Anthropic's."""
    return await (model_list if _KEY in request.headers else routes.model_list)(request)


async def v1_model_detail(request: Request) -> Response:
    """`GET /v1/models/{model}`, likewise."""
    return await (model_detail if _KEY in request.headers else routes.model_detail)(request)
