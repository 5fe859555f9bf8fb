"""An agent as chat partner, on every carrier of the chat and on the foreign wires."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.test import Client

from accounts import keys
from agents.definitions import sharing
from agents.definitions.authoring import change, create
from agents.models import Agent, AgentRun
from agents.runs import approvals
from agents.tests.runs import adds_up
from aiagents.core.db.calls import in_db
from billing.models import UsageLog
from chat.models import Conversation, Message
from chat.tests.caller import call, whole
from chat.tests.conftest import quiet
from chat.tests.socket import Socket
from tests.kit.waiting import until

SEND, STREAM = "/api/v1/chat/send", "/api/v1/chat/stream"
CALC = '[[call calculator {"expression": "2+3"}]]'


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="chat", scopes=["chat"])[1]


@pytest.fixture
def sums(user, models) -> Agent:
    return create(
        user,
        {
            "name": "Sums",
            "system_prompt": "You add.",
            "model": "gpt-4o-mini",
            "parameters": {"temperature": 0.1, "max_output_tokens": 300},
            "tools": [{"name": "calculator", "approval": "never"}, {"name": "current_time", "approval": "always"}],
        },
    )


def ask(agent: Agent, content: str = CALC, **more) -> dict:
    return {"content": content, "agent_id": str(agent.id), **more}


async def test_an_agent_answers_in_a_chat_and_the_message_names_it(key, sums, vendors):
    async with vendors() as sim:
        answer = await whole("POST", SEND, ask(sums), key=key)
        bodies = [seen.body for seen in sim.requests]
    message = answer.json["message"]
    assert answer.status == 200 and message["status"] == "complete" and message["finish_reason"] == "stop" and "5" in message["content"]
    assert message["agent_id"] == str(sums.id) and message["run_id"] == message["id"]
    assert message["agent"] == {"id": str(sums.id), "version_id": str(sums.version_id), "slug": "sums", "name": "Sums"}
    assert [step["type"] for step in message["steps"]] == ["tool.call", "tool.result"]
    assert message["route"]["chosen"] == "gpt-4o-mini" and message["route"]["reason"]
    assert bodies[0]["messages"][0]["content"].startswith("You add.") and bodies[0]["temperature"] == 0.1
    rows = [row async for row in UsageLog.objects.all()]
    assert len(rows) == 2 and {(row.purpose, row.agent_id, str(row.group_id)) for row in rows} == {("agent", sums.id, message["id"])}
    assert Decimal(message["cost_usd"]) == sum(row.cost_usd for row in rows)
    run = await AgentRun.objects.aget()
    assert (str(run.id), str(run.message_id), run.version_id, run.status) == (message["id"], message["id"], sums.version_id, "succeeded")
    await in_db(adds_up)


async def test_streamed_its_tools_are_seen_and_a_later_reader_sees_the_same(key, sums, vendors):
    async with vendors():
        first = await whole("POST", STREAM, ask(sums), key=key)
        await quiet()
        again = await whole("GET", f"{STREAM}/{first.headers['x-message-id']}", key=key)
    kinds = [kind for _, kind, _ in first.events]
    assert kinds[0] == "message.start" and kinds.count("message.start") == 1 and kinds.count("message.end") == 1
    assert kinds.index("tool.call") < kinds.index("tool.result") < kinds.index("content.delta")
    assert again.events == first.events


async def test_over_the_socket_a_tool_that_asks_waits_for_the_word(key, sums, user, vendors):
    async with vendors(), Socket(key=key) as socket:
        socket.send({"type": "send", **ask(sums, "[[call current_time {}]]")})
        frames = await socket.until("tool.call", "error")
        asked = frames[-1]
        assert asked["needs_approval"] is True
        await until(AgentRun.objects.filter(status="waiting_approval").aexists)
        await in_db(approvals.decide, user, asked["run_id"], approve=True, call_id=asked["call_id"])
        end = (await socket.until("message.end", "error"))[-1]
    assert end["type"] == "message.end" and [step.get("status") for step in end["steps"]] == [None, "ok"]
    await in_db(adds_up)


async def test_cancelling_the_turn_or_its_run_ends_both(key, sums, user, vendors, settings):
    settings.PROGRESS_INTERVAL_SECONDS = 0.05
    scoped = await in_db(lambda: keys.create(user, name="agents", scopes=["agents"])[1])

    def cancel_run(run_id: str) -> int:
        return Client().post(f"/api/v1/agents/runs/{run_id}/cancel", headers={"authorization": f"Bearer {scoped}"}).status_code

    async with vendors():
        for by_run in (False, True):
            stream = await call("POST", STREAM, ask(sums, "[[call current_time {}]]"), key=key)
            while "tool.call" not in [kind for _, kind, _ in stream.events]:
                stream.events = await stream.read_events(len(stream.events) + 1)
            message_id = stream.headers["x-message-id"]
            await until(AgentRun.objects.filter(id=message_id, status="waiting_approval").aexists)
            if by_run:
                assert await in_db(cancel_run, message_id) == 200
            else:
                assert (await whole("POST", f"/api/v1/chat/messages/{message_id}/cancel", key=key)).status == 200
            await stream.read()
            assert stream.events[-1][1] == "message.end" and stream.events[-1][2]["status"] == "cancelled"
            assert (await AgentRun.objects.aget(id=message_id)).status == "cancelled"
    await in_db(adds_up)


async def test_the_conversation_keeps_its_agent_and_so_do_regenerate_and_edit(key, sums, vendors):
    async with vendors():
        first = (await whole("POST", SEND, ask(sums, "Hello"), key=key)).json
        conversation = first["conversation_id"]
        second = (await whole("POST", SEND, {"content": "And now?", "conversation_id": conversation}, key=key)).json
        redone = (await whole("POST", f"/api/v1/chat/messages/{first['message']['id']}/regenerate", {}, key=key)).json
        edited = (await whole("POST", f"/api/v1/chat/messages/{first['user_message']['id']}/edit", {"content": "Hi"}, key=key)).json
    assert {one["message"]["agent_id"] for one in (first, second, redone, edited)} == {str(sums.id)}
    assert (await Conversation.objects.aget(id=conversation)).settings["agent_id"] == str(sums.id)
    assert await AgentRun.objects.acount() == 4


async def test_what_the_asker_may_decide_and_what_not(key, sums, user, vendors):
    open_agent = await in_db(create, user, {"name": "Open", "system_prompt": "Be kind.", "model": "auto", "goal": "cheapest"})
    async with vendors() as sim:
        asked = {"model": "gpt-4o", "system_prompt": "Be short.", "temperature": 0.9, "max_output_tokens": 50}
        pinned = (await whole("POST", SEND, ask(sums, "Hello", **asked), key=key)).json["message"]
        free = (await whole("POST", SEND, ask(open_agent, "Hello", **asked), key=key)).json["message"]
        routed = (await whole("POST", SEND, ask(open_agent, "Hello"), key=key)).json["message"]
        body = sim.requests[0].body
    assert (pinned["model"], free["model"]) == ("gpt-4o-mini", "gpt-4o") and routed["route"]["goal"] == "cheapest"
    assert body["messages"][0]["content"].startswith("You add.\n\nBe short.") and body["temperature"] == 0.9
    assert 50 in (body.get("max_tokens"), body.get("max_completion_tokens"))


async def test_an_agent_that_one_may_not_see_is_not_there(key, foreign, sums, user, vendors):
    theirs, shared = foreign
    async with vendors():
        hidden = await whole("POST", SEND, ask(theirs, "Hello"), key=key)
        nothing = await whole("POST", SEND, {"content": "Hello", "agent_id": str(user.id)}, key=key)
        allowed = await whole("POST", SEND, ask(shared, "Hello"), key=key)
        conversation = allowed.json["conversation_id"]
        await in_db(change, shared.user, shared.id, {"visibility": "private"})
        closed = await whole("POST", SEND, {"content": "More", "conversation_id": conversation}, key=key)
    assert hidden.status == nothing.status == closed.status == 404 and hidden.error["param"] == "agent_id"
    assert {**hidden.error, "request_id": ""} == {**nothing.error, "request_id": ""}
    assert allowed.status == 200 and allowed.json["message"]["agent"]["slug"] == "shared"
    assert await Message.objects.filter(role="user").acount() == 1, "a refused turn leaves nothing behind"


@pytest.fixture
def foreign(stranger, models) -> tuple[Agent, Agent]:
    sharing.allow(stranger)
    return (
        create(stranger, {"name": "Theirs", "model": "gpt-4o-mini"}),
        create(stranger, {"name": "Shared", "model": "gpt-4o-mini", "visibility": "shared"}),
    )


async def test_a_limit_of_the_agent_is_the_messages_finish_reason(key, sums, user, vendors):
    poor = await in_db(
        create,
        user,
        {"name": "Poor", "model": "gpt-4o-mini", "max_cost_usd": "0.0002", "max_steps": 40, "parameters": {"max_output_tokens": 50},
         "tools": [{"name": "calculator", "approval": "never"}]},
    )  # fmt: skip
    async with vendors():
        message = (await whole("POST", SEND, ask(poor, CALC + "[[forever]]"), key=key)).json["message"]
    assert (message["status"], message["finish_reason"]) == ("complete", "max_cost") and Decimal(message["cost_usd"]) <= Decimal("0.0002")
    await in_db(adds_up)


async def test_route_explains_what_the_agent_would_take(key, sums, vendors):
    async with vendors() as sim:
        answer = await whole("POST", "/api/v1/chat/route", ask(sums, "Hello"), key=key)
        bare = await whole("POST", "/api/v1/chat/route", {"content": "Hello", "model": "gpt-4o-mini"}, key=key)
        assert not sim.requests
    assert answer.json["chosen"] == "gpt-4o-mini" and answer.json["input_tokens"] > bare.json["input_tokens"]


# --- foreign wires --------------------------------------------------------------------------------

CHAT = {"model": "agent:sums", "messages": [{"role": "user", "content": CALC}]}
RESPONSES = {"model": "agent:sums", "input": CALC}
MESSAGES = {"model": "agent:sums", "max_tokens": 500, "messages": [{"role": "user", "content": CALC}]}
WIRES = [("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSES), ("/v1/messages", MESSAGES)]


async def said(*args, **kwargs) -> bytes:
    """The whole body of a stream that is not ours to parse, its deltas' texts joined after it."""
    answer = await call(*args, **kwargs)
    while await answer.more():
        pass
    await answer.task
    assert answer.status == 200
    found = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    return answer.body + "".join(texts(found)).encode()


def texts(value) -> list[str]:
    """Every piece of text in the deltas, in its order."""
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    if not isinstance(value, dict):
        return []
    here = [value[name] for name in ("content", "text", "delta") if isinstance(value.get(name), str)]
    return here + [text for item in value.values() for text in texts(item)]


def usage_of(usage: dict) -> tuple[int, int]:
    return usage.get("prompt_tokens", usage.get("input_tokens", 0)), usage.get("completion_tokens", usage.get("output_tokens", 0))


@pytest.mark.parametrize(("where", "body"), WIRES)
async def test_on_a_foreign_wire_the_agent_works_unseen(key, sums, vendors, where, body):
    async with vendors():
        answer = await whole("POST", where, body, key=key)
        streamed = await said("POST", where, {**body, "stream": True}, key=key)
    assert answer.status == 200 and b"= 5" in answer.body and b"The tool answered" in streamed
    assert not [word for word in (b"calculator", b'"tool_calls"', b'"function_call"', b'"tool_use"') if word in answer.body + streamed]
    rows = [row async for row in UsageLog.objects.order_by("created_at")]
    assert len(rows) == 4 and {(row.purpose, row.agent_id) for row in rows} == {("agent", sums.id)}
    counted = usage_of(answer.json["usage"])
    first = [row for row in rows if row.group_id == rows[0].group_id]
    assert counted == (sum(row.input_tokens for row in first), sum(row.output_tokens for row in first))
    assert Decimal(answer.headers["x-aiagents-cost-usd"]) == sum(row.cost_usd for row in first)
    assert await AgentRun.objects.filter(status="succeeded", surface__in=["openai", "anthropic"]).acount() == 2
    await in_db(adds_up)


@pytest.mark.parametrize(("where", "body"), WIRES)
async def test_a_caller_with_tools_of_their_own_is_refused_in_the_wires_shape(key, sums, vendors, where, body):
    tools = {
        "/v1/chat/completions": [{"type": "function", "function": {"name": "x"}}],
        "/v1/responses": [{"type": "function", "name": "x", "parameters": {"type": "object"}}],
        "/v1/messages": [{"name": "x", "input_schema": {"type": "object"}}],
    }
    async with vendors() as sim:
        for streamed in (False, True):
            answer = await whole("POST", where, {**body, "tools": tools[where], "stream": streamed}, key=key)
            assert answer.status == 400 and "tools" in answer.json["error"]["message"]
            unknown = await whole("POST", where, {**body, "model": "agent:nobody", "stream": streamed}, key=key)
            assert unknown.status == 404 and "agent:nobody" in unknown.json["error"]["message"]
        assert not sim.requests
    assert not await AgentRun.objects.aexists()


async def test_agents_that_one_may_use_stand_among_the_models(key, sums, foreign, vendors):
    async with vendors():
        listed = await whole("GET", "/v1/models", key=key)
        one = await whole("GET", "/v1/models/agent:sums", key=key)
        hidden = await whole("GET", "/v1/models/agent:theirs", key=key)
    names = [row["id"] for row in listed.json["data"]]
    assert "agent:sums" in names and "agent:shared" in names and "agent:theirs" not in names and "gpt-4o-mini" in names
    assert one.status == 200 and one.json["display_name"] == "Sums" and hidden.status == 404


async def test_several_choices_are_several_runs(key, sums, vendors):
    async with vendors():
        answer = await whole("POST", "/v1/chat/completions", {**CHAT, "n": 2}, key=key)
        streamed = await said("POST", "/v1/chat/completions", {**CHAT, "n": 2, "stream": True}, key=key)
    assert len(answer.json["choices"]) == 2 and b'"index":1' in streamed and b"[DONE]" in streamed
    assert await AgentRun.objects.acount() == 4
    await in_db(adds_up)


async def test_a_wire_client_that_leaves_ends_the_run(key, sums, vendors):
    body = {**CHAT, "messages": [{"role": "user", "content": "[[sim:chunks=400,pace=10]] on"}], "stream": True}
    async with vendors():
        answer = await call("POST", "/v1/chat/completions", body, key=key)
        while b'"content":"r' not in answer.body:
            await answer.more()
        await answer.hang_up()
    run = await AgentRun.objects.aget()
    assert run.status == "cancelled" and run.cost_usd > 0
    await in_db(adds_up)
