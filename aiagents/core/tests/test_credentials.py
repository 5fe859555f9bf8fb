"""The watch over credentials: streams, whole answers and downloads end with the credential that they were asked by."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from aiagents.core.errors import Unavailable
from aiagents.core.http import stream
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.http.endpoints import Endpoint, EventStream, Request, Response, json_response
from aiagents.core.live import credential_watch
from aiagents.core.tests.conftest import CredentialRef, revoked
from tests.kit.waiting import until
from tests.kit.wire import ask, start

GOOD = {"authorization": "Bearer good"}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 0.1)
    monkeypatch.setattr(credential_watch, "PAUSE", 0.01)


async def endless(story: list[str]) -> AsyncGenerator[bytes, None]:
    try:
        yield b"data: 1\n\n"
        await asyncio.sleep(60)
    finally:
        story.append("closed")


def serve(app: EndpointApplication, handler: Any, **options: Any) -> None:
    app.add(Endpoint("POST", "/api/v1/stream", handler, scope="chat", **options))


IN_PRODUCTION = (credential_watch.CHECK_EVERY, credential_watch.CHECK_SECONDS, credential_watch.PAUSE)


def test_the_waits_of_production_add_up_to_less_than_five_seconds():
    assert sum(IN_PRODUCTION) < 5 and sum(IN_PRODUCTION) - credential_watch.CHECK_SECONDS + stream.LAST_EVENT_SECONDS < 4


async def test_a_stream_ends_with_an_error_and_its_generator_is_closed(app: EndpointApplication, principal: Any):
    story: list[str] = []

    async def handler(request: Request) -> EventStream:
        return EventStream(endless(story))

    serve(app, handler)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    revoked.add(principal.credential_ref)
    await asyncio.wait_for(task, 3)
    _first, last, rest = client.answer.body.split(b"\n\n")
    assert last.startswith(b"event: error\n") and b"not_authenticated" in last and rest == b"" and client.answer.ended
    assert story == ["closed"]


async def test_an_answer_in_the_wires_own_shape_is_asked_of_the_stream(app: EndpointApplication, principal: Any):
    async def handler(request: Request) -> EventStream:
        return EventStream(endless([]), failure=lambda exc: b"data: own %b\n\n" % exc.code.encode())

    serve(app, handler)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    revoked.add(principal.credential_ref)
    await asyncio.wait_for(task, 3)
    assert client.answer.body == b"data: 1\n\ndata: own not_authenticated\n\n"


async def test_the_reader_hears_it_before_what_the_generator_has_to_close_is_closed(app: EndpointApplication, principal: Any):
    async def slow_to_close() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1.5)  # a generator that is slow to close

    async def handler(request: Request) -> EventStream:
        return EventStream(slow_to_close())

    serve(app, handler)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    revoked.add(principal.credential_ref)
    await client.wait_for(b"event: error")
    assert not task.done()
    await asyncio.wait_for(task, 5)
    assert client.answer.ended


async def test_a_generator_that_swallows_its_cancellation_says_nothing_more(app: EndpointApplication, principal: Any):
    async def stubborn() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"data: 1\n\n"
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    async def handler(request: Request) -> EventStream:
        return EventStream(stubborn())

    serve(app, handler)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    revoked.add(principal.credential_ref)
    await asyncio.wait_for(task, 3)
    assert client.answer.body.count(b"data: 1") == 1 and b"event: error" in client.answer.body


async def test_a_generator_that_never_pauses_is_ended_too(app: EndpointApplication, principal: Any):
    async def busy() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"data: x\n\n"
            await asyncio.sleep(0)

    async def handler(request: Request) -> EventStream:
        return EventStream(busy())

    serve(app, handler)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: x")
    revoked.add(principal.credential_ref)
    await asyncio.wait_for(task, 5)
    assert client.answer.body.endswith(b"\n\n") and b"event: error" in client.answer.body[-600:]


async def test_a_reader_that_takes_nothing_is_cut(app: EndpointApplication, principal: Any, settings: Any, monkeypatch: pytest.MonkeyPatch):
    settings.VIEWER_STALL_SECONDS = 60
    monkeypatch.setattr(stream, "LAST_EVENT_SECONDS", 0.2)
    story: list[str] = []
    blocked = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            blocked.set()
            await asyncio.sleep(60)

    request = Request(
        {"type": "http", "method": "GET", "path": "/", "client": None, "query_string": b"", "headers": []}, asyncio.Queue().get, {}, "r" * 8
    )
    request.principal = principal
    begun = time.monotonic()
    task = asyncio.create_task(stream.send_stream(request, endless(story), send, {"type": "http.response.start"}, lambda exc: b"x"))
    await asyncio.wait_for(blocked.wait(), 3)
    revoked.add(principal.credential_ref)
    assert (await asyncio.wait_for(task, 5))[0] == stream.UNAUTHENTICATED
    assert story == ["closed"] and time.monotonic() - begun < 5


@pytest.mark.django_db
@pytest.mark.parametrize("options", [{}, {"cancel_on_disconnect": True}, {"idempotent": True}])
async def test_a_whole_answer_that_is_not_there_yet_becomes_401(app: EndpointApplication, principal: Any, options: dict[str, Any]):
    story: list[str] = []

    async def handler(request: Request) -> Response:
        try:
            story.append("begun")
            await asyncio.sleep(60)
        finally:
            story.append("cancelled")
        return json_response({})

    serve(app, handler, **options)
    task = asyncio.create_task(ask(app, "POST", "/api/v1/stream", {}, GOOD | {"idempotency-key": "one-key"}))
    await until(lambda: story or task.done())
    assert story, task.result().body
    revoked.add(principal.credential_ref)
    answer = await asyncio.wait_for(task, 3)
    assert answer.status == 401 and answer.json["error"]["type"] == "not_authenticated" and "www-authenticate" in answer.headers
    assert story == ["begun", "cancelled"]


async def test_a_token_ends_it_when_it_expires_without_the_database(
    app: EndpointApplication, principal: Any, monkeypatch: pytest.MonkeyPatch
):
    async def away(credential_refs: list[Any]) -> set[Any]:
        raise Unavailable

    monkeypatch.setattr(credential_watch, "registered_check", away)
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 60.0)
    principal.credential_ref = CredentialRef(expires_at=time.time() + 0.5)

    async def handler(request: Request) -> EventStream:
        return EventStream(endless([]))

    serve(app, handler)
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data: 1")
    await asyncio.wait_for(task, 3)
    assert b"not_authenticated" in client.answer.body


@pytest.mark.parametrize("trouble", ["away", "hangs", "breaks"])
async def test_while_nobody_can_be_asked_what_has_not_expired_goes_on(principal: Any, monkeypatch: pytest.MonkeyPatch, trouble: str):
    async def check(credential_refs: list[Any]) -> set[Any]:
        if trouble == "away":
            raise Unavailable
        if trouble == "breaks":
            raise ValueError
        await asyncio.sleep(60)
        return set()

    monkeypatch.setattr(credential_watch, "registered_check", check)
    monkeypatch.setattr(credential_watch, "CHECK_SECONDS", 0.05)
    ended: list[str] = []
    soon = type(principal)(**vars(principal) | {"credential_ref": CredentialRef(expires_at=time.time() + 0.3)})
    with credential_watch.watched(principal, lambda: ended.append("lasting")), credential_watch.watched(soon, lambda: ended.append("soon")):
        await asyncio.sleep(1.0)  # longer than the credential that expires
    assert ended == ["soon"]


async def test_an_announcement_is_heard_at_once_and_asks_about_its_user(principal: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 60.0)
    asked: list[Any] = []

    async def check(credential_refs: list[Any]) -> set[Any]:
        asked.extend(credential_refs)
        return set()

    monkeypatch.setattr(credential_watch, "registered_check", check)
    other = type(principal)(**vars(principal) | {"credential_ref": CredentialRef()})
    ended = asyncio.Event()
    with credential_watch.watched(principal, ended.set), credential_watch.watched(other, lambda: pytest.fail("of another user")):
        await asyncio.sleep(0.1)  # the watch waits for its next look by now
        threading.Thread(target=credential_watch.look_at, args=(principal.credential_ref.user_id,)).start()
        await asyncio.wait_for(ended.wait(), 3)
    assert asked == [principal.credential_ref]


async def test_an_announcement_without_a_user_asks_about_all(principal: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 60.0)
    revoked.add(principal.credential_ref)
    ended = asyncio.Event()
    with credential_watch.watched(principal, ended.set):
        await asyncio.sleep(0.1)  # the watch waits for its next look by now
        credential_watch.look_at(None)
        await asyncio.wait_for(ended.wait(), 3)


async def test_viewers_with_one_credential_are_asked_about_once_and_each_is_ended(principal: Any, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    async def check(credential_refs: list[Any]) -> set[Any]:
        asked.append(len(credential_refs))
        return set()

    monkeypatch.setattr(credential_watch, "registered_check", check)
    ends = [asyncio.Event() for _ in range(50)]

    async def view(end: asyncio.Event) -> None:
        with credential_watch.watched(principal, end.set):
            await end.wait()

    await asyncio.wait_for(asyncio.gather(*map(view, ends)), 3)
    assert asked[0] == 1


async def test_one_that_fails_to_end_does_not_keep_the_others(principal: Any):
    ended = asyncio.Event()

    def fails() -> None:
        raise RuntimeError

    with credential_watch.watched(principal, fails), credential_watch.watched(principal, ended.set):
        revoked.add(principal.credential_ref)
        await asyncio.wait_for(ended.wait(), 3)


async def test_nothing_is_left_behind(principal: Any):
    with credential_watch.watched(principal, lambda: None):
        watch = credential_watch.watches_by_loop[asyncio.get_running_loop()]
        assert watch.credential_refs() == {principal.credential_ref}
    assert not watch.viewers
    await asyncio.wait_for(watch.task, 3)


# --- downloads over Django ------------------------------------------------------------------------


async def test_a_download_is_cut_when_its_credential_ends(principal: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(credential_watch, "registered_reader", lambda request: principal)

    async def pages() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"line\n"
            await asyncio.sleep(0.01)  # a download of many pieces

    async def read() -> int:
        response = StreamingHttpResponse(pages())
        credential_watch.watch_response(HttpRequest(), response)
        size = 0
        async for chunk in response:
            size += len(chunk)
            if size == 50:
                revoked.add(principal.credential_ref)
        return size

    task = asyncio.create_task(read())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 5)
    assert task.cancelled()


async def test_what_is_nobodys_or_no_stream_is_left_alone(principal: Any, monkeypatch: pytest.MonkeyPatch):
    async def page() -> AsyncGenerator[bytes, None]:
        yield b"public"

    response: Any = StreamingHttpResponse(page())
    before = response._iterator
    monkeypatch.setattr(credential_watch, "registered_reader", lambda request: None)
    credential_watch.watch_response(HttpRequest(), response)
    assert response._iterator is before
    monkeypatch.setattr(credential_watch, "registered_reader", lambda request: pytest.fail("a whole answer needs no watch"))
    credential_watch.watch_response(HttpRequest(), HttpResponse(b"x"))
