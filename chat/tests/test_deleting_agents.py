"""A deleted agent: its definition and its owner's runs of it go; what others made with it stays readable; costs stay.

(It stands here because the run's endpoint is opened with those of the chat.)
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import AuditEvent, User
from agents.definitions import authoring, deleting, sharing
from agents.models import Agent, AgentRun, AgentStep, AgentVersion
from agents.runs import store as run_store
from agents.tasks import sweep_deleted
from aiagents.core.db.calls import in_db
from aiagents.core.models import IdempotentAnswer
from billing.models import UsageLog
from chat.tests.caller import call, whole
from chat.tests.conftest import quiet, runs_quiet
from tasks.models import Task
from tests.kit.planted import CANARY, in_tables, in_valkey

API = "/api/v1/agents/"
RUNS = f"{API}runs/"
CALL = f'[[call calculator {{"expression": "2+3"}}]] {CANARY} [[say {CANARY}]]'
WAITS = f"[[call current_time {{}}]] {CANARY}"


def key_of(user: User) -> str:
    return keys.create(user, name="all", scopes=["agents", "chat", "tasks"])[1]


def client_of(key: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return client


@pytest.fixture
def key(user, models) -> str:
    return key_of(user)


@pytest.fixture
def client(key) -> APIClient:
    return client_of(key)


def made(client: APIClient, user: User, **changes: Any) -> str:
    """An agent of two versions with the planted text in every column of both; its id."""
    body = {
        "name": CANARY, "description": CANARY, "system_prompt": f"{CANARY} one", "model": "gpt-4o-mini",
        "parameters": {"stop": [CANARY + "!"]},
        "tools": [{"name": "calculator", "approval": "never"}, {"name": "current_time", "approval": "always"}],
    } | changes  # fmt: skip
    sharing.allow(user)
    answer = client.post(API, body, format="json", headers={"Idempotency-Key": "made"})
    assert answer.status_code == 201, answer.content
    found = answer.json()["id"]
    assert client.patch(API + found, {"system_prompt": f"{CANARY} two"}, format="json").status_code == 200
    for version in AgentVersion.objects.filter(agent_id=found):
        version.tools = [row | {"note": CANARY} for row in version.tools]
        version.save()
    return found


async def run(key: str, agent: str, text: str, **headers: str) -> Any:
    answer = await whole("POST", f"{API}{agent}/run", {"input": text}, key=key, headers=headers)
    assert answer.status in (200, 202), answer.body
    return answer.json


def costs() -> tuple[int, Any]:
    return UsageLog.objects.count(), UsageLog.objects.aggregate(sum=Sum("cost_usd"))["sum"]


async def test_a_planted_text_is_found_nowhere_after_the_deletion(user, key, client, vendors):
    agent = await in_db(lambda: made(client, user))
    async with vendors():
        done = await run(key, agent, CALL, **{"idempotency-key": "run"})
        waits = await run(key, agent, WAITS)
        await runs_quiet()
    assert (done["status"], waits["status"]) == ("succeeded", "waiting_approval")
    before = await in_db(in_tables)
    assert {"agents_agent", "agents_agentversion", "agents_agentrun", "agents_agentstep", "accounts_auditevent"} >= set(before) >= {
        "agents_agent", "agents_agentversion", "agents_agentrun", "agents_agentstep",
    }  # fmt: skip
    assert CANARY in str((await AgentRun.objects.aget(pk=waits["id"])).state), "the parked run keeps the prompt"
    spent = await in_db(costs)
    assert spent[1] > 0

    # Out of sight at once.
    assert (await in_db(lambda: client.delete(API + agent))).status_code == 204
    for seen in (API, f"{API}?search={CANARY}", RUNS, f"{RUNS}?agent={agent}"):
        answer = await in_db(lambda seen=seen: client.get(seen))
        assert answer.status_code == 200 and CANARY not in answer.content.decode(), seen
    for gone in (API + agent, f"{API}{agent}/versions", RUNS + done["id"], RUNS + waits["id"]):
        assert (await in_db(lambda gone=gone: client.get(gone))).status_code == 404, gone
    assert (await whole("POST", f"{API}{agent}/run", {"input": CALL}, key=key, headers={"idempotency-key": "run"})).status == 404
    assert (await AgentRun.objects.aget(pk=waits["id"])).status == "cancelled"
    first = {"name": CANARY, "description": CANARY}
    replay = await in_db(lambda: client.post(API, first, format="json", headers={"Idempotency-Key": "made"}))
    assert replay.status_code in (404, 409) and CANARY not in replay.content.decode()

    # Kept for the days of grace, then erased.
    kept = await in_db(in_tables)
    assert await in_db(sweep_deleted) == 0 and await in_db(in_tables) == kept
    await Agent.objects.aupdate(deleted_at=timezone.now() - timedelta(days=7, seconds=1))
    assert await in_db(sweep_deleted) == 1
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []
    for model in (Agent, AgentVersion, AgentRun, AgentStep):
        assert not await model.objects.aexists(), model
    assert await in_db(costs) == spent, "costs stay"
    assert await AuditEvent.objects.filter(action="agent.deleted", target_id=agent).aexists()


@pytest.mark.parametrize("first", [False, True], ids=["at once", "a second time"])
async def test_now_erases_at_once(user, key, client, vendors, first):
    agent = await in_db(lambda: made(client, user))
    async with vendors():
        await run(key, agent, CALL)
        await run(key, agent, WAITS)
        await runs_quiet()
    if first:
        assert (await in_db(lambda: client.delete(API + agent))).status_code == 204
        assert (await in_db(lambda: client.delete(API + agent))).status_code == 404
    assert (await in_db(lambda: client.delete(f"{API}{agent}?now=true"))).status_code == 204
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []
    assert (await in_db(lambda: client.delete(f"{API}{agent}?now=true"))).status_code == 404
    row = await IdempotentAnswer.objects.aget(key="made")
    assert row.status == 404, "a repeated creation makes no second agent"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_stored_answer_of_a_deleted_agent_is_not_shown_again(user, key, client, vendors, streamed):
    agent = await in_db(lambda: made(client, user, slug="sums"))
    asked = {"model": "agent:sums", "messages": [{"role": "user", "content": f"[[say {CANARY}]]"}], "stream": streamed}

    async def ask() -> Any:
        answer = await call("POST", "/v1/chat/completions", asked, key=key, headers={"idempotency-key": "wire"})
        while await answer.more():
            pass
        await answer.task
        return answer

    async with vendors():
        first, again = await ask(), await ask()
        await quiet()
    assert first.status == again.status == 200 and again.body == first.body and CANARY.encode() in first.body
    assert (await in_db(lambda: client.delete(API + agent))).status_code == 204
    replay = await ask()
    assert replay.status == 404 and CANARY.encode() not in replay.body


async def test_runs_in_conversations_and_of_others_stay_and_name_slug_and_version(user, stranger, key, client, vendors):
    """The definition goes, the two runs that belong to a conversation and to another person can be read as before."""
    agent = await in_db(lambda: made(client, user, slug="sums", visibility="shared"))
    theirs = await in_db(lambda: key_of(stranger))
    async with vendors():
        own = await run(key, agent, "2+3")
        other = await run(theirs, agent, "Name three rivers")
        parked = await run(theirs, agent, "[[call current_time {}]]")
        asked = {"content": "Name three rivers", "agent_id": agent}
        said = await whole("POST", "/api/v1/chat/send", asked, key=key)
        assert said.status == 200, said.body
        await quiet()
    assert parked["status"] == "waiting_approval"
    assert (await in_db(lambda: client.delete(f"{API}{agent}?now=true"))).status_code == 204

    for name, column in (("agents_agent", "name"), ("agents_agentversion", "system_prompt"), ("agents_agentrun", "state")):
        assert name not in await in_db(in_tables), f"{name} still holds the text, e.g. in {column}"
    stays = await in_db(lambda: client_of(theirs).get(RUNS + other["id"]))
    assert stays.status_code == 200 and stays.json() == other | {"steps_next": None} and (other["agent"], other["version"]) == ("sums", 2)
    broken_off = (await in_db(lambda: client_of(theirs).get(RUNS + parked["id"]))).json()
    assert (broken_off["status"], broken_off["error"]["code"]) == ("cancelled", "agent_not_found")
    assert (await in_db(lambda: client.get(RUNS + own["id"]))).status_code == 404 and not await AgentRun.objects.filter(
        pk=own["id"]
    ).aexists()
    kept = await AgentRun.objects.aget(conversation_id=said.json["conversation_id"])
    assert (await in_db(lambda: client.get(f"{RUNS}{kept.pk}"))).json()["agent"] == "sums"
    assert (await in_db(lambda: client.get(f"/api/v1/chat/conversations/{kept.conversation_id}/messages"))).status_code == 200
    version = await AgentVersion.objects.aget()
    assert (version.number, version.system_prompt, version.tools, version.parameters, version.model) == (2, "", [], {}, "")

    # Its last traces go with the last run that names it.
    await AgentRun.objects.filter(agent_id=agent).adelete()
    await in_db(sweep_deleted)
    assert not await Agent.objects.aexists() and not await AgentVersion.objects.aexists()


async def test_an_owners_running_run_is_cancelled_and_its_text_goes_too(user, key, client, vendors, monkeypatch):
    monkeypatch.setattr(deleting, "STOP_WAIT_SECONDS", 0.2)
    agent = await in_db(lambda: made(client, user))
    async with vendors():
        answer = await call("POST", f"{API}{agent}/run", {"input": f"[[sim:chunks=400,pace=50]] {CANARY}", "stream": True}, key=key)
        await answer.read_events(5)
        assert (await in_db(lambda: client.delete(f"{API}{agent}?now=true"))).status_code == 204
        await answer.read()
        await runs_quiet()
        await quiet()
    assert answer.events[-1][1] == "error" or answer.events[-1][2]["status"] == "cancelled"
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []
    assert (await UsageLog.objects.aget()).cost_usd > 0


async def test_another_persons_running_run_ends_by_itself_first(user, stranger, key, client, vendors, monkeypatch):
    monkeypatch.setattr(deleting, "STOP_WAIT_SECONDS", 0.2)
    agent = await in_db(lambda: made(client, user, slug="sums", visibility="shared"))
    theirs = await in_db(lambda: key_of(stranger))
    async with vendors():
        answer = await call("POST", f"{API}{agent}/run", {"input": "[[sim:chunks=30,pace=30]] on", "stream": True}, key=theirs)
        await answer.read_events(3)
        erasing = await in_db(lambda: client.delete(f"{API}{agent}?now=true"))
        assert (erasing.status_code, erasing.json()) == (202, {"erasing": True})
        await answer.read()
        await runs_quiet()
        await quiet()
    assert answer.events[-1][1] == "message.end" and answer.events[-1][2]["status"] == "succeeded"
    assert await in_db(sweep_deleted) == 1
    assert "agents_agentversion" not in await in_db(in_tables) and (await Agent.objects.aget()).erased_at is not None


def test_only_the_owner_erases_and_now_is_true_or_false(user, stranger, client):
    agent = made(client, user, slug="sums", visibility="shared")
    other = client_of(key_of(stranger))
    for query in ("", "?now=true"):
        assert other.delete(API + agent + query).status_code == 403, "a shared agent is seen by others"
    wrong = client.delete(f"{API}{agent}?now=yes")
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "now"
    assert client.get(API + agent).status_code == 200
    assert client.delete(f"{API}{agent}?now=false").status_code == 204
    for query in ("", "?now=true"):
        assert other.delete(API + agent + query).status_code == 404, "a deleted one by nobody"
    assert Agent.objects.get().erased_at is None


def test_tasks_of_an_erased_agent_stay_without_it(user, client):
    agent = made(client, user)
    task = Task.objects.create(user=user, name="t", input="x", kind=Task.Kind.AGENT, agent_id=agent)
    assert client.delete(f"{API}{agent}?now=true").status_code == 204
    task.refresh_from_db()
    assert task.agent_id is None and not Agent.objects.exists()


def test_many_runs_go_in_batches_and_late_ones_are_hidden(user, client, django_assert_max_num_queries):
    agent = Agent.objects.get(pk=made(client, user))
    row = {"user": user, "surface": "rest", "agent": agent, "version": agent.version, "status": "succeeded", "input": CANARY}
    AgentRun.objects.bulk_create(AgentRun(**row) for _ in range(700))
    authoring.delete(user, agent.pk)
    late = AgentRun.objects.create(**row)
    assert run_store.own(user.pk).get().pk == late.pk
    sweep_deleted()
    assert not run_store.own(user.pk).exists()
    with django_assert_max_num_queries(80):
        assert deleting.erase(agent.pk, float("inf"))
    assert in_tables() == {}


def test_a_hidden_run_that_nothing_took_along_is_erased_a_day_later(user, models):
    old = timezone.now() - timedelta(days=8, seconds=1)
    for hidden_at in (old, timezone.now()):
        run = AgentRun.objects.create(user=user, surface="rest", status="succeeded", input=CANARY, hidden_at=hidden_at)
        AgentStep.objects.create(run=run, number=1, kind="model", output=CANARY)
    sweep_deleted()
    assert AgentRun.objects.get().hidden_at > old and AgentStep.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_erase_each_agent_once(django_user_model):
    from tests.kit.racing import at_once

    user = django_user_model.objects.create_user("ann@example.com", "correct horse battery staple")
    for number in range(8):
        agent = authoring.create(user, {"name": f"{CANARY} {number}", "system_prompt": CANARY})
        AgentRun.objects.create(user=user, surface="rest", agent=agent, version=agent.version, status="succeeded", input=CANARY)
        authoring.delete(user, agent.pk)
    Agent.objects.update(deleted_at=timezone.now() - timedelta(days=8))
    answers = at_once(2, lambda _: deleting.sweep())
    assert all(isinstance(answer, int) for answer in answers), answers
    assert not Agent.objects.exists() and sum(answers) >= 8
    assert in_tables() == {}
