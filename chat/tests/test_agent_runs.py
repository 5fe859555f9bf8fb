"""`POST /api/v1/agents/{id}/run` and the runs behind it. It stands here because the tests of the chat have what it needs."""

from __future__ import annotations

import asyncio
import json

import pytest

from accounts import keys
from accounts.models import ApiKey
from accounts.sign_in import tokens
from agents.models import AgentRun
from agents.runs import live as live_runs
from agents.runs import service as runner
from agents.runs import sweep as run_sweep
from agents.tests.runs import adds_up
from aiagents.core.db.calls import in_db
from chat.tests.caller import call, whole
from chat.tests.conftest import runs_quiet
from chat.tests.run_helpers import CALC, path, rest


@pytest.fixture
def key(user) -> str:
    return keys.create(user, name="runs", scopes=["agents"])[1]


async def test_a_run_answered_whole(key, sums, vendors):
    async with vendors():
        answer = await whole("POST", path(sums), {"input": CALC}, key=key)
    run = answer.json
    assert answer.status == 200 and run["status"] == "succeeded" and run["finish_reason"] == "stop" and "5" in run["output"]
    assert [step["kind"] for step in run["steps"]] == ["model", "tool", "model"] and run["steps"][1]["output"] == "= 5"
    assert (run["agent"], run["version"], run["steps_done"], run["simulated"]) == ("sums", 1, 2, True)
    assert (await rest("GET", f"/api/v1/agents/runs/{run['id']}", key)) == (200, run)
    status, listed = await rest("GET", "/api/v1/agents/runs/?status=succeeded&page_size=1", key)
    assert status == 200 and [one["id"] for one in listed["results"]] == [run["id"]] and "steps" not in listed["results"][0]
    await in_db(adds_up)


async def test_the_same_run_as_events(key, sums, vendors):
    async with vendors():
        answer = await whole("POST", path(sums), {"input": "[[say Let me see.]]" + CALC, "stream": True}, key=key)
    kinds = [kind for _, kind, _ in answer.events]
    data = {kind: value for _, kind, value in answer.events}
    assert answer.headers["content-type"].startswith("text/event-stream") and [seq for seq, _, _ in answer.events] == list(
        range(len(kinds))
    )
    assert kinds[0] == "message.start" and kinds[-1] == "message.end" and kinds.count("message.start") == 1
    assert data["message.start"]["run_id"] == data["message.end"]["id"] == answer.headers["x-run-id"]
    assert (
        data["tool.call"]["name"] == "calculator" and "needs_approval" not in data["tool.call"] and data["tool.result"]["output"] == "= 5"
    )
    text = "".join(value["text"] for _, kind, value in answer.events if kind == "content.delta")
    assert text == "Let me see.\n\n" + data["message.end"]["output"]


async def test_a_client_that_leaves_does_not_lose_the_run(key, sums, vendors):
    async with vendors():
        answer = await call("POST", path(sums), {"input": "[[sim:chunks=40,pace=10]] on", "stream": True}, key=key)
        await answer.read_events(3)
        await answer.hang_up()
        await runs_quiet()
    run = await AgentRun.objects.aget()
    assert (run.status, run.finish_reason) == ("succeeded", "stop")
    await in_db(adds_up)


async def test_one_key_one_run_whatever_becomes_of_it(key, sums, vendors):
    headers = {"idempotency-key": "once-only"}
    async with vendors() as sim:
        first = await whole("POST", path(sums), {"input": CALC}, key=key, headers=headers)
        again = await whole("POST", path(sums), {"input": CALC}, key=key, headers=headers)
        other = await whole("POST", path(sums), {"input": "another"}, key=key, headers=headers)
        assert first.json == again.json and again.headers["idempotent-replayed"] == "true" and other.status == 409
        sim.always("*", "500")
        broken = {"idempotency-key": "once-broken"}
        failed = await whole("POST", path(sums), {"input": "x"}, key=key, headers=broken)
        sim.clear()
        told = await whole("POST", path(sums), {"input": "x"}, key=key, headers=broken)
    assert failed.status == told.status == 503 and failed.error["details"]["run_id"] == told.error["details"]["run_id"]
    assert await AgentRun.objects.acount() == 2


async def test_a_second_request_with_the_key_joins_the_run_that_goes_on(key, sums, vendors):
    headers, body = {"idempotency-key": "join-in"}, {"input": "[[sim:chunks=60,pace=10]] on"}
    async with vendors():
        first = await call("POST", path(sums), {**body, "stream": True}, key=key, headers=headers)
        await first.read_events(2)
        second = await whole("POST", path(sums), {**body, "stream": True}, key=key, headers=headers)
        await first.read()
    assert second.headers["idempotent-replayed"] == "true" and second.events == first.events
    assert await AgentRun.objects.acount() == 1


async def test_a_run_that_must_ask_is_parked_and_goes_on_after_the_word(key, person, sums, vendors, sent):
    async with vendors():
        answer = await whole("POST", path(sums), {"input": "[[call current_time {}]]", "stream": True}, key=key)
        (asked,) = [value for _, kind, value in answer.events if kind == "tool.call"]
        run = answer.events[-1][2]
        assert answer.events[-1][1] == "message.end" and run["status"] == "waiting_approval" and run["waits_for"] == [asked["call_id"]]
        assert asked["needs_approval"] is True and asked["run_id"] == run["id"]
        where = f"/api/v1/agents/runs/{run['id']}/"
        assert (await rest("POST", where + "approve", person, {"call_id": "nobody"}))[0] == 404
        status, told = await rest("POST", where + "approve", person, {"call_id": asked["call_id"]})
        assert status == 200 and told["steps"][1]["decision"] == "approved" and told["waits_for"] == []
        assert (await rest("POST", where + "approve", person, {}))[0] == 200 and (await rest("POST", where + "reject", person, {}))[
            0
        ] == 409
        assert sent == [run["id"]]
        ended = await runner.resume_to_end(AgentRun(id=run["id"]).pk)
    assert ended.status == "succeeded"
    whole_answer = await rest("GET", f"/api/v1/agents/runs/{run['id']}", key)
    assert whole_answer[1]["steps"][1]["status"] == "ok"
    await in_db(adds_up)


async def test_answered_whole_a_parked_run_is_202(key, person, sums, vendors, sent):
    async with vendors():
        answer = await whole("POST", path(sums), {"input": "[[call current_time {}]]"}, key=key)
        assert answer.status == 202 and answer.json["status"] == "waiting_approval"
        status, told = await rest("POST", f"/api/v1/agents/runs/{answer.json['id']}/reject", person, {"reason": "No."})
        assert status == 200 and told["steps"][1]["decision"] == "rejected" and told["steps"][1]["reason"] == "No."
        status, told = await rest("POST", f"/api/v1/agents/runs/{answer.json['id']}/cancel", key)
        assert status == 200 and told["status"] == "cancelled"
        assert (await rest("POST", f"/api/v1/agents/runs/{answer.json['id']}/cancel", key))[1]["status"] == "cancelled"


@pytest.mark.parametrize("word", ["approve", "reject"])
async def test_a_key_does_not_decide_about_its_own_tool_call(user, models, sums, vendors, sent, word):
    """Every scope together but `approve` is not enough; `approve` alone is, and a person always."""
    usual = set(ApiKey.Scope.values) - {"approve"}
    runner_key = (await in_db(keys.create, user, name="all", scopes=usual))[1]
    approver = (await in_db(keys.create, user, name="a", scopes=["approve"]))[1]
    # A row of the version before, and one that a hand has written.
    old = (await in_db(keys.create, user, name="old", scopes=["agents"]))[1]
    await in_db(lambda: ApiKey.objects.filter(name="old").update(scopes=["chat", "agents", "tasks", "billing", "read", "*", "all", "full"]))
    person = await in_db(lambda: tokens.sign_in(user).access)
    async with vendors():
        for decider, status in ((person, 200), (approver, 200)):
            answer = await whole("POST", path(sums), {"input": "[[call current_time {}]]"}, key=runner_key)
            where = f"/api/v1/agents/runs/{answer.json['id']}/{word}"
            for key in (runner_key, old):
                refused = await rest("POST", where, key, {})
                assert refused[0] == 403 and refused[1]["error"]["code"] == "scope_missing", refused
                assert refused[1]["error"]["details"] == {"scope": "approve"}
            assert (await rest("GET", f"/api/v1/agents/runs/{answer.json['id']}", runner_key))[1]["waits_for"], "it still waits"
            assert (await rest("POST", where, decider, {}))[0] == status
        assert (await rest("GET", "/api/v1/agents/runs/", approver))[0] == 403, "approve is no other scope"
        assert (await call("POST", path(sums), {"input": "x"}, key=approver)).status == 403


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_key_does_not_switch_the_question_off(user, key, person, sums, method):
    """`current_time` asks a person in the first version of this agent. A key may add questions, and not take one away."""

    async def change(credential, *tools):
        grants = [{"name": name, "approval": approval} for name, approval in tools]
        body = {"tools": grants} if method == "PATCH" else {"name": "Sums", "model": "gpt-4o-mini", "tools": grants}
        return await rest(method, f"/api/v1/agents/{sums.pk}", credential, body)

    free = ("current_time", "never")
    for before in (None, [], [("calculator", "always")]):
        if before is not None:
            assert (await change(key, *before))[0] == 200
        status, told = await change(key, free, ("calculator", "always"))
        assert status == 403 and told["error"]["code"] == "scope_missing" and told["error"]["details"]["tools"] == ["current_time"], told
    assert (await change(key, ("current_time", "always")))[0] == 200
    approver = (await in_db(keys.create, user, name="a", scopes=["agents", "approve"]))[1]
    assert (await change(approver, free))[0] == 200
    assert (await change(key, free))[0] == 200, "as it is already"
    assert (await change(person, ("current_time", "always")))[0] == 200 and (await change(person, free))[0] == 200


async def test_cancel_stops_a_run_that_goes_on(key, sums, vendors, settings):
    settings.PROGRESS_INTERVAL_SECONDS = 0.05
    async with vendors():
        answer = await call("POST", path(sums), {"input": "[[sim:chunks=400,pace=10]] on", "stream": True}, key=key)
        run_id = (await answer.read_events(3))[0][2]["run_id"]
        await rest("POST", f"/api/v1/agents/runs/{run_id}/cancel", key)
        await answer.read()
    assert answer.events[-1][1] == "message.end" and answer.events[-1][2]["status"] == "cancelled" and answer.events[-1][2]["output"]
    await in_db(adds_up)


WRONG = {
    "input": [{}, {"input": " "}, {"input": 7}],
    "stream": [{"input": "x", "stream": 1}],
    "max_cost_usd": [{"input": "x", "max_cost_usd": "NaN"}, {"input": "x", "max_cost_usd": -1}],
    "model": [{"input": "x", "model": "gpt-4o"}],
}


@pytest.mark.parametrize(("param", "body"), [(param, body) for param, bodies in WRONG.items() for body in bodies])
async def test_what_is_wrong_is_named(key, sums, body, param):
    answer = await whole("POST", path(sums), body, key=key)
    assert answer.status == 400 and answer.error["param"] == param
    assert not await AgentRun.objects.aexists()


async def test_money_and_models_fail_with_their_own_status_and_leave_a_readable_run(key, sums, vendors):
    async with vendors():
        answer = await whole("POST", path(sums), {"input": "x", "max_cost_usd": "0.000000001"}, key=key)
    assert answer.status == 402 and answer.error["code"] == "max_cost_exceeded"
    status, run = await rest("GET", f"/api/v1/agents/runs/{answer.error['details']['run_id']}", key)
    assert status == 200 and run["status"] == "failed" and run["error"]["code"] == "max_cost_exceeded"


async def test_runs_at_once_are_limited(key, sums, vendors, settings):
    settings.MAX_CONCURRENT_RUNS_PER_USER = 1
    async with vendors():
        answer = await call("POST", path(sums), {"input": "[[sim:chunks=40,pace=10]] on", "stream": True}, key=key)
        await answer.read_events(2)
        refused = await whole("POST", path(sums), {"input": "x"}, key=key)
        await answer.read()
    assert refused.status == 429 and refused.error["code"] == "too_many_runs"


async def test_a_process_that_leaves_ends_its_runs_as_interrupted(key, sums, vendors):
    async with vendors():
        answer = await call("POST", path(sums), {"input": "[[sim:chunks=900,pace=10]] on", "stream": True}, key=key)
        await answer.read_events(3)
        await live_runs.drain(0.2)
        await answer.read()
    assert answer.events[-1][1] == "error" and answer.events[-1][2]["error"]["code"] == "interrupted"
    run = await AgentRun.objects.aget()
    assert run.status == "interrupted" and run.output and run.cost_usd > 0
    await in_db(adds_up)


async def test_silent_runs_are_ended_and_living_ones_are_not(key, sums, vendors, settings):
    settings.AGENT_SILENCE_SECONDS = 1
    settings.PROGRESS_INTERVAL_SECONDS = 0.1
    async with vendors():
        answer = await call("POST", path(sums), {"input": "[[sim:chunks=200,pace=10]] on", "stream": True}, key=key)
        await answer.read_events(3)
        await asyncio.sleep(1.3)  # longer than the silence that ends a run
        assert await in_db(run_sweep.sweep) == 0
        await answer.read()
    assert (await AgentRun.objects.aget()).status == "succeeded"


async def test_a_stream_that_is_too_long_ends_with_an_error_and_the_run_goes_on(key, sums, vendors, monkeypatch):
    monkeypatch.setattr(live_runs, "MOST_BYTES", 2_000)
    async with vendors():
        answer = await whole("POST", path(sums), {"input": "[[sim:chunks=300,size=20,pace=1]] on", "stream": True}, key=key)
        blocks = [block for block in answer.body.decode().split("\n\n") if block.strip()]
        kinds = [block.split("event: ", 1)[1].split("\n", 1)[0] for block in blocks]
        assert kinds[0] == "message.start" and kinds.count("error") == 1 and kinds[-1] == "error"
        error = json.loads(blocks[-1].split("data: ", 1)[1])["error"]
        assert error["code"] == "stream_too_long" and "goes on" in error["message"]
        await runs_quiet()
        status, run = await rest("GET", error["details"]["read"], key)
    assert status == 200 and run["id"] == error["details"]["run_id"] and run["status"] == "succeeded"
    assert len(run["output"]) > 2_000
