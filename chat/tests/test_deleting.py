"""“Delete” deletes: a text planted wherever a conversation leaves one is found nowhere afterwards, and costs stay."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.db.models import Sum
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import keys
from agents.definitions.authoring import create
from agents.models import AgentRun, AgentStep
from agents.runs import store as run_store
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotFound
from aiagents.core.models import IdempotentAnswer
from billing.models import UsageLog
from chat import tasks
from chat.conversations import deleting, history
from chat.models import Conversation, Message
from chat.tests.caller import whole
from chat.tests.conftest import begin, quiet
from chat.tests.making import API, said
from chat.turn_request import TurnRequest
from chat.turns import store as turn_store
from tests.kit.planted import CANARY, ENCODED, in_tables, in_valkey
from tests.kit.waiting import until

SEND, STREAM = "/api/v1/chat/send", "/api/v1/chat/stream"
RUNS = "/api/v1/agents/runs/"


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="chat", scopes=["chat", "agents"])[1]


@pytest.fixture
def client(key) -> APIClient:
    found = APIClient()
    found.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return found


async def planted(user, key: str, client: APIClient, vendors) -> str:
    """A conversation with the canary in every place that one fills; its id."""
    agent = await in_db(
        lambda: create(user, {"name": "Sums", "model": "gpt-4o-mini", "tools": [{"name": "calculator", "approval": "never"}]})
    )
    body = {"title": CANARY, "settings": {"system_prompt": CANARY}}
    made = await in_db(lambda: client.post(API, body, format="json", headers={"Idempotency-Key": "made"}))
    conversation = made.json()["id"]
    file = {"type": "file", "name": f"{CANARY}.txt", "media_type": "text/plain", "data": ENCODED}
    tool = f'{CANARY} [[call calculator {{"expression": "2+3"}}]][[say {CANARY}]]'
    asked = {"conversation_id": conversation, "model": "gpt-4o-mini"}
    async with vendors():
        first = await whole("POST", SEND, asked | {"content": [{"type": "text", "text": CANARY}, file], "metadata": {"m": CANARY}}, key=key)
        assert first.status == 200, first.body
        await whole("POST", SEND, asked | {"content": tool, "agent_id": str(agent.pk)}, key=key, headers={"idempotency-key": "sent"})
        last = await whole("POST", STREAM, asked | {"content": f"[[sim:error=500]] {CANARY} [[say {CANARY}]]"}, key=key)
        await quiet()
    assert last.status == 200
    answer = first.json["message"]["id"]
    path = f"/api/v1/chat/messages/{answer}/feedback"
    assert (await in_db(lambda: client.post(path, {"rating": "down", "comment": CANARY}, format="json"))).status_code == 200
    return conversation


async def test_a_planted_text_is_found_nowhere_after_the_deletion(user, key, client, vendors):
    conversation = await planted(user, key, client, vendors)
    path = f"{API}/{conversation}"
    before = await in_db(in_tables)
    assert {"chat_conversation", "chat_message", "agents_agentrun", "agents_agentstep"} <= set(before), before
    assert any(key.startswith("chat:turn:") for key in await in_db(in_valkey))
    assert await IdempotentAnswer.objects.acount() == 2
    answers = [pk async for pk in Message.objects.filter(role="assistant").values_list("pk", flat=True)]
    costs = await in_db(lambda: (UsageLog.objects.count(), UsageLog.objects.aggregate(sum=Sum("cost_usd"))["sum"]))
    assert costs[1] > 0

    # Out of sight at once.
    assert (await in_db(lambda: client.delete(path))).status_code == 204
    for seen in (API, f"{API}?search={CANARY}", RUNS, f"{RUNS}?conversation={conversation}"):
        answer = await in_db(lambda seen=seen: client.get(seen))
        assert answer.status_code == 200 and CANARY not in answer.content.decode(), seen
    run = await AgentRun.objects.aget()
    for gone in (path, f"{path}/messages", f"{path}/export", f"{RUNS}{run.pk}"):
        assert (await in_db(lambda gone=gone: client.get(gone))).status_code == 404, gone
    for pk in answers:
        assert (await whole("GET", f"{STREAM}/{pk}", key=key)).status == 404
    body = {"title": CANARY, "settings": {"system_prompt": CANARY}}
    replay = await in_db(lambda: client.post(API, body, format="json", headers={"Idempotency-Key": "made"}))
    assert replay.status_code == 404 and CANARY not in replay.content.decode()

    # Kept for the days of grace, then erased.
    assert await in_db(tasks.sweep_deleted) == 0 and await in_db(in_tables) == before
    await Conversation.objects.aupdate(deleted_at=timezone.now() - timedelta(days=7, seconds=1))
    assert await in_db(tasks.sweep_deleted) == 1
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []
    assert not await IdempotentAnswer.objects.aexists() and not await Conversation.objects.aexists()
    assert not await AgentStep.objects.aexists()
    assert history.message_cache._here.keys().isdisjoint(answers)
    # Costs stay, without content.
    assert await in_db(lambda: (UsageLog.objects.count(), UsageLog.objects.aggregate(sum=Sum("cost_usd"))["sum"])) == costs


@pytest.mark.parametrize("first", [False, True], ids=["at once", "a second time"])
async def test_now_erases_at_once(user, key, client, vendors, first):
    conversation = await planted(user, key, client, vendors)
    path = f"{API}/{conversation}"
    if first:
        assert (await in_db(lambda: client.delete(path))).status_code == 204
        assert (await in_db(lambda: client.delete(path))).status_code == 404
    assert (await in_db(lambda: client.delete(f"{path}?now=true"))).status_code == 204
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []
    assert (await in_db(lambda: client.delete(f"{path}?now=true"))).status_code == 404


def test_only_the_owner_erases_and_now_is_true_or_false(client, user, stranger, models):
    other = APIClient()
    other.credentials(HTTP_AUTHORIZATION=f"Bearer {keys.create(stranger, name='t', scopes=['chat'])[1]}")
    path = f"{API}/{said(user, 'a question').conversation_id}"
    for query in ("", "?now=true"):
        assert other.delete(path + query).status_code == 404
    wrong = client.delete(f"{path}?now=yes")
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "now"
    assert Message.objects.count() == 2 and client.get(path).status_code == 200


async def test_a_running_answer_is_stopped_and_its_text_goes_too(principal, key, client, vendors):
    async with vendors():
        turn = await begin(principal, f"[[sim:chunks=400,pace=50]] {CANARY}")
        await until(lambda: turn.logged >= 5)
        path = f"{API}/{turn.conversation_id}"
        # Where nothing is listening (this test's one thread is busy) the deletion is finished by the sweep.
        deleting.STOP_WAITS = 0.3
        try:
            answer = await in_db(lambda: client.delete(f"{path}?now=true"))
        finally:
            deleting.STOP_WAITS = 5.0
        assert answer.status_code in (202, 204)
        await turn.finished()
        await quiet()
        if answer.status_code == 202:
            assert answer.json() == {"erasing": True} and await in_db(tasks.sweep_deleted) == 1
    assert turn.message.status == "cancelled", "it was stopped, not written to its end"
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []
    assert (await UsageLog.objects.aget(message_id=turn.message_id)).cost_usd > 0


async def test_a_log_that_was_about_to_be_written_is_not_written(principal, key, client, vendors, settings):
    """The row has ended, its events are on their way to Valkey: the deletion comes between."""
    settings.TURN_LOG_BATCH_SECONDS, settings.TURN_LOG_MOST_AHEAD = 1.0, 10_000
    async with vendors():
        turn = await begin(principal, f"{CANARY} [[say {CANARY}]]")
        await turn.finished()
        assert turn.logged < len(turn.lines), "the log is behind"
        erased = await in_db(lambda: deleting.erase_now(Conversation.objects.get(pk=turn.conversation_id)))
        assert erased
        await quiet(40)
    assert await in_db(in_tables) == {} and await in_db(in_valkey) == []


def test_a_turn_cannot_begin_in_a_conversation_that_is_being_deleted(user, models, monkeypatch):
    conversation = said(user, "a question").conversation
    place = turn_store.place

    def hidden_meanwhile(user_id, ask):
        found = place(user_id, ask)
        deleting.hide(conversation)
        return found

    monkeypatch.setattr(turn_store, "place", hidden_meanwhile)
    with pytest.raises(NotFound):
        turn_store.open_turn(user, TurnRequest(content="more", conversation_id=conversation.pk))
    assert Message.objects.count() == 2


def test_nothing_is_erased_while_valkey_is_away_and_it_is_made_good(user, models, monkeypatch):
    conversation = said(user, CANARY).conversation
    with monkeypatch.context() as patch:
        patch.setattr(deleting.valkey, "sync_client", lambda: (_ for _ in ()).throw(ConnectionError()))
        patch.setattr(deleting, "STOP_WAITS", 0.0)
        assert not deleting.erase_now(conversation)
        assert tasks.sweep_deleted() == 0 and Message.objects.count() == 2
    assert tasks.sweep_deleted() == 1 and not Message.objects.exists()


def test_a_branch_of_thousands_of_messages_goes_in_a_few_statements(user, models, django_assert_max_num_queries):
    conversation = Conversation.objects.create(user=user)
    parent = None
    made = []
    for number in range(3000):
        parent = Message(conversation=conversation, parent=parent, role="user" if number % 2 == 0 else "assistant", content=CANARY)
        made.append(parent)
    Message.objects.bulk_create(made)
    deleting.hide(conversation)
    with django_assert_max_num_queries(25):
        assert deleting.erase(conversation.pk)
    assert in_tables() == {}


def test_hidden_runs_are_found_by_nobody_and_late_ones_are_hidden_by_the_sweep(user, models):
    conversation = said(user, "a question").conversation
    deleting.hide(conversation)
    run = AgentRun.objects.create(user=user, surface="rest", conversation_id=conversation.pk, input=CANARY, status="succeeded")
    assert run_store.own(user.pk).filter(pk=run.pk).exists()
    tasks.sweep_deleted()
    assert not run_store.own(user.pk).filter(pk=run.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_erase_each_conversation_once(django_user_model):
    user = django_user_model.objects.create_user("ann@example.com", "correct horse battery staple")
    for _ in range(12):
        conversation = Conversation.objects.create(user=user, deleted_at=timezone.now() - timedelta(days=8), title=CANARY)
        Message.objects.create(conversation=conversation, role="user", content=CANARY)
    counts, wrong = [], []

    def sweep() -> None:
        try:
            counts.append(deleting.sweep())
        except Exception as exc:
            wrong.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and not Conversation.objects.exists() and sum(counts) >= 12
    assert in_tables() == {}
