"""Server-Sent Events: coalesced, kept alive, ended honestly, closed in their own task."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aiagents.core.errors import Unavailable
from aiagents.core.http import sse
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.http.endpoints import Endpoint, EventStream, Request
from tests.kit.wire import ask, start

GOOD = {"authorization": "Bearer good"}
mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


def serve(app: EndpointApplication, chunks: Any, **options: Any) -> None:
    async def handler(request: Request) -> EventStream:
        return EventStream(chunks(), {"x-message-id": "m-1"})

    app.add(Endpoint("POST", "/api/v1/stream", handler, scope="chat", **options))


async def test_what_is_ready_is_sent_together_and_in_order(app: EndpointApplication):
    async def many() -> AsyncGenerator[bytes, None]:
        for number in range(500):
            yield sse.event("n", b"%d" % number, number)

    serve(app, many)
    answer = await ask(app, "POST", "/api/v1/stream", {}, GOOD)
    assert answer.body == b"".join(sse.event("n", b"%d" % number, number) for number in range(500))
    assert len(answer.parts) < 10
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8" and answer.headers["x-accel-buffering"] == "no"
    assert "no-cache" in answer.headers["cache-control"] and answer.headers["x-message-id"] == "m-1"
    assert "ratelimit-remaining" in answer.headers


async def test_each_event_goes_out_when_it_comes(app: EndpointApplication):
    release = asyncio.Event()

    async def two() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await release.wait()
        yield b"data: 2\n\n"

    serve(app, two)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    assert b"data: 2" not in client.answer.body
    release.set()
    await asyncio.wait_for(task, 10)
    assert client.answer.ended and client.answer.body.endswith(b"data: 2\n\n")


async def test_silence_is_filled_with_comments_and_disturbs_nothing(app: EndpointApplication, settings: Any):
    settings.SSE_HEARTBEAT_SECONDS = 0.05

    async def slow() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.3)  # a slow stream
        yield b"data: 2\n\n"

    serve(app, slow)
    answer = await ask(app, "POST", "/api/v1/stream", {}, GOOD)
    assert 1 <= answer.body.count(sse.COMMENT) <= 6
    assert answer.body.replace(sse.COMMENT, b"") == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize(("failure", "code"), [(Unavailable(), b"unavailable"), (ValueError("the key is aia_secret"), b"internal_error")])
async def test_an_exception_ends_the_stream_with_an_error_event(app: EndpointApplication, failure: Exception, code: bytes):
    async def fails() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        raise failure

    serve(app, fails)
    answer = await ask(app, "POST", "/api/v1/stream", {}, GOOD)
    first, error, rest = answer.body.split(b"\n\n")
    assert first == b"data: 1" and error.startswith(b'event: error\ndata: {"error":{') and code in error and rest == b""
    assert b"aia_secret" not in answer.body


async def test_a_generator_cancelled_from_inside_does_not_hang_its_client(app: EndpointApplication):
    async def fails() -> AsyncGenerator[bytes, None]:
        inner = asyncio.ensure_future(asyncio.sleep(60))
        yield b"data: 1\n\n"
        inner.cancel()
        await inner

    serve(app, fails)
    answer = await asyncio.wait_for(ask(app, "POST", "/api/v1/stream", {}, GOOD), 3)
    assert b"event: error" in answer.body


@pytest.mark.parametrize("where", ["waiting", "producing"])
async def test_a_client_that_leaves_ends_the_generator_in_its_own_task(app: EndpointApplication, where: str):
    story: list[Any] = []

    async def endless() -> AsyncGenerator[bytes, None]:
        token = mark.set("inside")
        story.append(asyncio.current_task())
        try:
            async with asyncio.timeout(60):
                while True:
                    yield b"data: 1\n\n"
                    await asyncio.sleep(0 if where == "producing" else 30)  # 30 seconds stand for ever
        finally:
            await asyncio.sleep(0.01)  # closing may await
            mark.reset(token)  # raises when closed from another context
            story.append(asyncio.current_task())

    serve(app, endless)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    client.leave()
    await asyncio.wait_for(task, 10)
    assert len(story) == 2 and story[0] is story[1] is task
    assert not task.cancelled() and task.exception() is None


async def test_the_handlers_first_steps_and_the_stream_share_one_task(app: EndpointApplication):
    async def inner() -> AsyncGenerator[bytes, None]:
        async with asyncio.timeout(0.1):  # belongs to the task that entered it
            yield b"first"
            await asyncio.sleep(5)  # a slow stream

    async def outer(source: AsyncGenerator[bytes, None], first: bytes) -> AsyncGenerator[bytes, None]:
        yield first
        async for chunk in source:
            yield chunk

    async def handler(request: Request) -> EventStream:
        source = inner()
        return EventStream(outer(source, await anext(source)))

    app.add(Endpoint("POST", "/api/v1/stream", handler, scope="chat"))
    answer = await asyncio.wait_for(ask(app, "POST", "/api/v1/stream", {}, GOOD), 3)
    assert answer.body.startswith(b"first") and b"event: error" in answer.body


async def test_a_reader_that_stops_holds_little_and_is_given_up(app: EndpointApplication, settings: Any):
    settings.VIEWER_MAX_PENDING_BYTES = 100_000
    settings.SSE_HEARTBEAT_SECONDS = 0.05
    settings.VIEWER_STALL_SECONDS = 0.3
    made, closed = 0, asyncio.Event()

    async def flood() -> AsyncGenerator[bytes, None]:
        nonlocal made
        try:
            while True:
                made += 1
                yield b"x" * 1000
        finally:
            closed.set()

    serve(app, flood)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"x")
    client.reading.clear()
    await asyncio.wait_for(closed.wait(), 3)
    sent = len(client.answer.body)
    assert made * 1000 - sent <= 110_000
    await asyncio.wait_for(task, 10)


async def test_a_slow_reader_gets_everything(app: EndpointApplication, settings: Any):
    settings.VIEWER_MAX_PENDING_BYTES = 10_000
    settings.VIEWER_STALL_SECONDS = 5

    async def much() -> AsyncGenerator[bytes, None]:
        for number in range(200):
            yield b"%04d" % number * 250

    serve(app, much)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    async with asyncio.timeout(60):
        while not task.done():
            client.reading.clear()
            await asyncio.sleep(0.002)  # a reader that stops again and again
            client.reading.set()
            await asyncio.sleep(0)
    assert client.answer.ended and client.answer.body == b"".join(b"%04d" % number * 250 for number in range(200))


async def test_a_server_that_cancels_the_request_closes_the_generator(app: EndpointApplication):
    closed: list[bool] = []

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"data: 1\n\n"
                await asyncio.sleep(30)
        finally:
            closed.append(True)

    serve(app, endless)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [True]
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1 or all(other.get_name() != "writer" for other in asyncio.all_tasks())


def test_data_cannot_forge_an_event():
    with pytest.raises(ValueError):
        sse.event("content.delta", b'{"text":"\n\nevent: message.end\n"}')
