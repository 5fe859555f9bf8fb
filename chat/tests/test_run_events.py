"""`GET /api/v1/agents/runs/{id}/events`: a run is followed and re-attached to, from its own process and from others."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from django.test import TestCase

from accounts import keys
from agents.models import AgentRun
from agents.runs import erasing, stored
from agents.runs import live as live_runs
from agents.runs import sweep as run_sweep
from agents.runs.stored import event_log
from aiagents.core.db.calls import in_db
from aiagents.core.live import event_log as core_log
from aiagents.core.valkey import clients as valkey
from chat.tests.caller import call, whole
from chat.tests.conftest import begin, runs_quiet
from chat.tests.run_helpers import CALC, path, rest

LONG = {"input": "[[sim:chunks=60,pace=10]] on", "stream": True}


@pytest.fixture
def key(user) -> str:
    return keys.create(user, name="runs", scopes=["agents"])[1]


def events(run_id: object, after: object = None) -> str:
    return f"/api/v1/agents/runs/{run_id}/events" + ("" if after is None else f"?after={after}")


async def elsewhere(run_id: Any, after: int = -1) -> list[tuple[int, str, Any]]:
    """What a process that does not work at the run shows of it."""
    return [(seq, kind, json.loads(data)) async for seq, kind, data in stored.follow(run_id, after)]


async def begun(sums, key, body=LONG):
    answer = await call("POST", path(sums), body, key=key)
    await answer.read_events(4)
    run = await AgentRun.objects.order_by("-created_at").afirst()
    assert run is not None and answer.headers["x-run-id"] == str(run.id)
    return answer, run.id


async def test_a_run_is_joined_while_it_goes_on_from_here_and_from_elsewhere(key, sums, vendors):
    async with vendors():
        first, run_id = await begun(sums, key)
        here, there, middle = await asyncio.gather(
            whole("GET", events(run_id), key=key), elsewhere(run_id), whole("GET", events(run_id), key=key, headers={"last-event-id": "2"})
        )
        await first.read()
        await runs_quiet()
    assert here.status == 200 and here.headers["content-type"].startswith("text/event-stream")
    assert here.events == there == first.events and middle.events == first.events[3:]
    assert [seq for seq, _, _ in there] == list(range(len(there))) and there[-1][1] == "message.end"


async def test_an_ended_run_is_replayed_from_every_event_on(key, sums, vendors):
    async with vendors():
        first = await whole("POST", path(sums), {"input": CALC, "stream": True}, key=key)
        await runs_quiet()
        run_id = first.headers["x-run-id"]
        for after in range(-1, len(first.events) + 2):
            told = await whole("GET", events(run_id, after), key=key)
            assert told.events[:1] != [] and [kind for _, kind, _ in told.events][-1] == "message.end"
            if after < len(first.events) - 1:
                assert told.events == first.events[after + 1 :]
            else:
                assert [data for _, _, data in told.events] == [first.events[-1][2]], "the end again, and no rewind"


async def test_after_its_log_is_gone_a_run_has_its_start_and_its_end(key, sums, vendors):
    async with vendors():
        first = await whole("POST", path(sums), {"input": CALC, "stream": True}, key=key)
        await runs_quiet()
    run_id = first.headers["x-run-id"]
    await valkey.client().delete(event_log.key(UUID(run_id)))
    start, end = (await whole("GET", events(run_id), key=key)).events
    assert (start[0], start[1], start[2]["run_id"]) == (0, "message.start", run_id)
    assert (end[1], end[2]) == ("message.end", first.events[-1][2])
    ((seq, kind, data),) = (await whole("GET", events(run_id, 3), key=key)).events
    assert (seq, kind, data) == (4, "message.end", first.events[-1][2])


async def test_the_message_start_of_every_kind_of_work_has_the_same_keys(key, sums, vendors):
    async with vendors():
        first = await whole("POST", path(sums), {"input": CALC, "stream": True}, key=key)
    start = first.events[0][2]
    assert list(start)[:6] == ["conversation_id", "user_message_id", "message_id", "model", "provider", "route"]
    assert start["message_id"] == start["run_id"] == first.headers["x-run-id"]


@pytest.fixture
def short_catch_up(monkeypatch):
    monkeypatch.setattr(core_log, "CATCH_UP_SECONDS", 0.1)


async def killed(user, agent, count: int = 5) -> Any:
    """A run whose process died after it had written `count` events to its log."""
    run = await in_db(
        lambda: AgentRun.objects.create(agent=agent, version=agent.version, user=user, input="x", status="running", output="Hi there")
    )
    await in_db(lambda: AgentRun.objects.filter(id=run.id).update(heartbeat_at="2020-01-01T00:00:00Z"))
    lines = [(0, "message.start", b'{"model":"m","provider":"p","route":{}}')]
    lines += [(seq, "content.delta", b'{"text":"ab"}') for seq in range(1, count)]
    await event_log.write({run.id: (lines, True)})
    return run.id


async def test_viewers_of_a_run_whose_process_died_are_rewound_to_what_stands(user, key, sums, short_catch_up):
    run_id = await killed(user, sums)
    waiting = await call("GET", events(run_id, 9), key=key)
    await waiting.read_events(1)
    assert await in_db(run_sweep.sweep) == 1
    rewind = (4, "message.rewind", {"seq": 4, "length": 8, "reasoning_length": 0, "steps": 0})
    assert (await waiting.read()).events[0] == rewind
    for after in (5, 9):  # 5 is the seq of the end that the sweeper wrote, and may be that of a lost event
        told = (await whole("GET", events(run_id, after), key=key)).events
        assert told[0] == rewind and [(seq, kind) for seq, kind, _ in told[1:]] == [(5, "error")]
        assert told[1][2]["error"]["code"] == "interrupted" and told[1][2]["run"]["output"] == "Hi there"
    for after in (-1, 2, 4):
        assert [seq for seq, _, _ in (await whole("GET", events(run_id, after), key=key)).events] == list(range(after + 1, 6))


async def test_an_interrupted_run_without_a_log_is_told_anew(user, key, sums, short_catch_up):
    run_id = await killed(user, sums)
    await in_db(run_sweep.sweep)
    await valkey.client().delete(event_log.key(run_id))
    told = (await whole("GET", events(run_id, 3), key=key)).events
    assert [(seq, kind) for seq, kind, _ in told] == [(-1, "message.rewind"), (0, "message.start"), (1, "error")]


async def test_a_parked_run_goes_on_in_a_worker_and_its_stream_with_it(key, person, sums, vendors, sent):
    async with vendors():
        first = await whole("POST", path(sums), {"input": "[[call current_time {}]]", "stream": True}, key=key)
        run = first.events[-1][2]
        assert (await whole("GET", events(run["id"]), key=key)).events == first.events, "it waits: so far and no further"
        await rest("POST", f"/api/v1/agents/runs/{run['id']}/approve", person, {})
        await live_runs.resume(UUID(run["id"]))
        rest_of_it = (await whole("GET", events(run["id"], first.events[-1][0]), key=key)).events
        everything = (await whole("GET", events(run["id"]), key=key)).events
    assert rest_of_it[0][:2] == (len(first.events), "tool.result") and rest_of_it[-1][2]["status"] == "succeeded"
    assert everything == [*first.events[:-1], *rest_of_it], "the wait is over and left out"


async def test_a_parked_run_that_is_cancelled_ends_its_stream(key, sums, vendors, sent):
    async with vendors():
        first = await whole("POST", path(sums), {"input": "[[call current_time {}]]", "stream": True}, key=key)
        run_id = first.events[-1][2]["id"]
        await rest("POST", f"/api/v1/agents/runs/{run_id}/cancel", key)
        told = (await whole("GET", events(run_id), key=key)).events
    assert told[:-1] == first.events[:-1] and told[-1][1] == "message.end" and told[-1][2]["status"] == "cancelled"


async def test_a_run_of_a_chat_has_its_start_and_its_end(principal, sums, vendors):
    async with vendors():
        turn = await begin(principal, CALC, agent_id=sums.id)
        there = asyncio.create_task(elsewhere(turn.message_id))
        await turn.finished()
        told = await there
    assert [kind for _, kind, _ in told] == ["message.start", "message.end"]
    assert told[-1][2]["message_id"] == str(turn.message_id) and told[-1][2]["status"] == "succeeded"


@pytest.mark.parametrize("given", ["x", "-2", "1.5", "99999999999", "--1", "1e3", "1 2", "0x1", "-"])
async def test_a_hostile_last_event_id_is_refused(given, key, sums, vendors):
    async with vendors():
        first = await whole("POST", path(sums), {"input": CALC, "stream": True}, key=key)
        await runs_quiet()
        answer = await whole("GET", events(first.headers["x-run-id"]), key=key, headers={"last-event-id": given})
    assert answer.status == 400 and answer.error["param"] == "Last-Event-ID"


async def test_only_the_own_runs_can_be_followed(key, sums, vendors, django_user_model):
    other = await in_db(lambda: django_user_model.objects.create_user(email="eve@example.com", password="correct horse battery"))
    stranger = (await in_db(keys.create, other, name="k", scopes=["agents"]))[1]
    wrong = (await in_db(keys.create, other, name="k", scopes=["chat"]))[1]
    async with vendors():
        first, run_id = await begun(sums, key)
        for where in (events(run_id), events("01890000-0000-7000-8000-000000000000"), events("00000000-0000-0000-0000-00000000000g")):
            assert (await whole("GET", where, key=stranger)).status == 404
        assert (await whole("GET", events(run_id), key=wrong)).status == 403
        assert (await whole("GET", events(run_id))).status == 401
        await first.read()
        await runs_quiet()
        await AgentRun.objects.filter(id=run_id).aupdate(hidden_at="2026-01-01T00:00:00Z")
        assert (await whole("GET", events(run_id), key=key)).status == 404, "its agent was deleted"


async def test_a_process_that_leaves_tells_followers_elsewhere(key, sums, vendors):
    async with vendors():
        first, run_id = await begun(sums, key, {"input": "[[sim:chunks=900,pace=10]] on", "stream": True})
        there = asyncio.create_task(elsewhere(run_id))
        await live_runs.drain(0.2)
        assert not live_runs.count(), "its log is written"
        await first.read()
        told = await asyncio.wait_for(there, 10)
    assert told == first.events and told[-1][1] == "error" and told[-1][2]["error"]["code"] == "interrupted"


async def test_an_erased_run_leaves_no_log(key, sums, vendors, user):
    async with vendors():
        first = await whole("POST", path(sums), {"input": CALC, "stream": True}, key=key)
        await runs_quiet()
    run = await AgentRun.objects.aget()
    assert await event_log.end_of(run.id) == len(first.events) - 1

    def erase() -> None:
        with TestCase.captureOnCommitCallbacks(execute=True):
            erasing.erase([run.id])

    await in_db(erase)
    assert await event_log.end_of(run.id) == -1
