"""`Idempotency-Key`: one run, one answer, nothing stuck, nothing of another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from aiagents.core import idempotency
from aiagents.core.errors import Conflict, InvalidRequest
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.http.endpoints import Endpoint, EventStream, Request, Response, json_response
from aiagents.core.idempotency import Claim, Replay, begin_sync, finish_sync
from aiagents.core.models import IdempotentAnswer
from aiagents.tasks import sweep_idempotency
from tests.kit.waiting import until, wait_for
from tests.kit.wire import ask, start

pytestmark = pytest.mark.django_db
GOOD = {"authorization": "Bearer good", "idempotency-key": "key-1"}


@pytest.fixture
def counted(app: EndpointApplication) -> list[Any]:
    """An endpoint whose handler notes each of its runs."""
    runs: list[Any] = []

    async def handler(request: Request) -> Response:
        body = await request.json()
        runs.append(body)
        if body.get("wrong"):
            raise InvalidRequest(param="wrong")
        if body.get("crash"):
            raise RuntimeError
        return json_response({"run": len(runs)}, 201)

    app.add(Endpoint("POST", "/api/v1/things", handler, scope="chat", idempotent=True))
    app.add(Endpoint("POST", "/api/v1/others", handler, scope="chat", idempotent=True))
    return runs


async def test_the_same_request_again_gets_the_same_bytes_and_runs_once(app: EndpointApplication, counted: list):
    first = await ask(app, "POST", "/api/v1/things", {"a": 1}, GOOD)
    again = await ask(app, "POST", "/api/v1/things", {"a": 1}, GOOD)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    assert len(counted) == 1
    other_body = await ask(app, "POST", "/api/v1/things", {"a": 2}, GOOD)
    other_path = await ask(app, "POST", "/api/v1/others", {"a": 1}, GOOD)
    assert {(answer.status, answer.error["code"]) for answer in (other_body, other_path)} == {(409, "idempotency_key_reused")}


async def test_keys_never_cross_principals(app: EndpointApplication, counted: list, principal: Any):
    await ask(app, "POST", "/api/v1/things", {"a": 1}, GOOD)
    principal.user_id = uuid4()
    assert "idempotent-replayed" not in (await ask(app, "POST", "/api/v1/things", {"a": 1}, GOOD)).headers
    assert len(counted) == 2


@pytest.mark.parametrize("body", [{"wrong": 1}, {"crash": 1}])
async def test_a_failure_is_not_kept(app: EndpointApplication, counted: list, body: dict):
    for _ in range(2):
        assert (await ask(app, "POST", "/api/v1/things", body, GOOD)).status in (400, 500)
    assert len(counted) == 2 and not await IdempotentAnswer.objects.aexists()


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\tkey", "ü"])
async def test_a_key_that_is_no_key_is_refused(app: EndpointApplication, counted: list, key: str):
    answer = await ask(app, "POST", "/api/v1/things", {}, GOOD | {"idempotency-key": key})
    assert (answer.status, answer.error["param"]) == (400, "Idempotency-Key") and not counted


async def test_while_the_first_runs_the_second_waits_outside(app: EndpointApplication):
    release, runs = asyncio.Event(), 0

    async def slow(request: Request) -> Response:
        nonlocal runs
        runs += 1
        await release.wait()
        return json_response({"done": True})

    app.add(Endpoint("POST", "/api/v1/slow", slow, scope="chat", idempotent=True))
    client, task = start(app, "POST", "/api/v1/slow", {}, GOOD)
    await until(lambda: runs)
    second = await ask(app, "POST", "/api/v1/slow", {}, GOOD)
    assert (second.status, second.error["code"]) == (409, "idempotency_in_progress") and int(second.headers["retry-after"]) >= 1
    release.set()
    await task
    assert (await ask(app, "POST", "/api/v1/slow", {}, GOOD)).body == client.answer.body
    assert runs == 1


def _age(minutes: float, **fields: Any) -> None:
    then = timezone.now() - timedelta(minutes=minutes)
    IdempotentAnswer.objects.update(heartbeat_at=then, **fields)


def test_a_claim_whose_process_died_is_taken_over_once():
    first = begin_sync("u", "k", "f")
    assert isinstance(first, Claim)
    with pytest.raises(Conflict):
        begin_sync("u", "k", "f")
    _age(5)
    assert isinstance(begin_sync("u", "k", "f"), Claim)
    with pytest.raises(Conflict):
        begin_sync("u", "k", "f")


def test_a_dead_claim_with_a_reference_is_replayed_by_it():
    claim = begin_sync("u", "k", "f")
    assert isinstance(claim, Claim)
    idempotency.note_sync(claim, {"message_id": "m"})
    with pytest.raises(Conflict):
        begin_sync("u", "k", "f")
    _age(5)
    assert begin_sync("u", "k", "f") == Replay(0, b"", "", {"message_id": "m"})


def test_an_answer_lives_a_day_and_is_swept():
    claim = begin_sync("u", "k", "f")
    assert isinstance(claim, Claim)
    finish_sync(claim, 200, b"{}")
    assert sweep_idempotency() == 0
    _age(60 * 25, created_at=timezone.now() - timedelta(hours=25))
    assert isinstance(begin_sync("u", "k", "other"), Claim)  # expired before it was swept
    _age(60 * 25, created_at=timezone.now() - timedelta(hours=25))
    assert sweep_idempotency() == 1
    finish_sync(begin_sync("u", "k", "f"), 200, b"{}")
    idempotency.forget("u")
    assert not IdempotentAnswer.objects.exists()


def test_what_is_stored_is_of_no_use_in_a_stolen_database(settings: Any):
    claim = begin_sync("u", "k", "f")
    finish_sync(claim, 201, b'{"key":"aia_secret"}')
    assert b"aia_secret" not in bytes(IdempotentAnswer.objects.get().body)
    settings.SECRET_KEY = "another" * 10
    with pytest.raises(Conflict):
        begin_sync("u", "k", "f")


@pytest.mark.django_db(transaction=True)
async def test_a_request_that_is_cancelled_while_it_claims_its_key_leaves_no_claim(db_threads: None, monkeypatch: Any):
    claiming, go_on = threading.Event(), threading.Event()

    def slow(*args: str) -> Claim | Replay:
        claiming.set()
        go_on.wait(30)
        return begin_sync(*args)

    monkeypatch.setattr(idempotency, "begin_sync", slow)
    request = asyncio.create_task(idempotency.begin("u", "k", "f"))
    await asyncio.to_thread(claiming.wait, 30)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    go_on.set()
    monkeypatch.undo()
    found: list[Claim] = []

    async def claimed() -> bool:
        found.extend(one for one in [await _first_or_conflict("f2")] if isinstance(one, Claim))
        return bool(found)

    await until(claimed)
    await idempotency.abandon(found[0])


async def _first_or_conflict(fingerprint: str) -> Claim | Replay | Conflict:
    """A claim for another body; the conflict as long as the first one's claim stands."""
    try:
        return await idempotency.begin("u", "k", fingerprint)
    except Conflict as exc:
        return exc


def test_a_running_request_keeps_its_claim(monkeypatch: Any):
    beats: list[list[int]] = []
    monkeypatch.setattr("aiagents.core.live.heartbeat.BEAT_SECONDS", 0.02)
    from aiagents.core.live.heartbeat import Heart

    heart = Heart(beats.append)
    heart.start(7)
    assert wait_for(lambda: len(beats) > 2)
    heart.stop(7)
    assert beats[:2] == [[7], [7]]
    thread = heart._thread
    if thread is not None:
        thread.join(2)
    assert heart._thread is None


async def test_a_stream_is_replayed_byte_for_byte(app: EndpointApplication):
    runs = 0

    async def handler(request: Request) -> EventStream:
        nonlocal runs
        runs += 1
        return EventStream(_numbers(runs))

    app.add(Endpoint("POST", "/api/v1/stream", handler, scope="chat", idempotent=True))
    first = await ask(app, "POST", "/api/v1/stream", {}, GOOD)
    again = await ask(app, "POST", "/api/v1/stream", {}, GOOD)
    assert again.body == first.body and again.headers["content-type"].startswith("text/event-stream") and runs == 1


async def _numbers(run: int) -> AsyncGenerator[bytes, None]:
    for number in range(3):
        yield b"data: %d.%d\n\n" % (run, number)
        await asyncio.sleep(0)


async def test_a_stream_with_a_replayer_is_followed_after_its_client_left(app: EndpointApplication):
    runs = 0

    async def handler(request: Request) -> EventStream:
        nonlocal runs
        runs += 1
        assert request.claim
        await idempotency.note(request.claim, {"message_id": "m-1"})
        return EventStream(_endless())

    async def replay(request: Request, reference: dict) -> EventStream:
        return EventStream(_numbers(int(reference["message_id"] == "m-1")))

    app.add(Endpoint("POST", "/api/v1/stream", handler, scope="chat", idempotent=True, replay=replay))
    client, task = start(app, "POST", "/api/v1/stream", {}, GOOD)
    await client.wait_for(b"data")
    client.leave()
    await asyncio.wait_for(task, 3)
    again = await ask(app, "POST", "/api/v1/stream", {}, GOOD)
    assert again.headers["idempotent-replayed"] == "true" and again.body.startswith(b"data: 1.0") and runs == 1


async def _endless() -> AsyncGenerator[bytes, None]:
    while True:
        yield b"data: x\n\n"
        await asyncio.sleep(0.01)  # a stream of many pieces
