"""What one model call holds is bounded, whatever lies in the conversation: small requests must not add up to a huge prompt."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields
from typing import Any, get_args

import pytest

from agents import messages
from agents.messages import CompletionRequest
from aiagents.core.db.calls import in_db
from billing.models import Hold, UsageLog
from chat.api import branches
from chat.conversations import history, titles
from chat.models import Conversation, Message
from chat.tests.caller import whole
from chat.turns import service as turns
from chat.turns import store as turn_store

API = "/api/v1/chat/"
MODEL = "gpt-4o-mini"


def picture(characters: int) -> list[dict[str, str]]:
    return [{"type": "image", "media_type": "image/png", "data": "A" * characters}]


def talk(user: Any, exchanges: int, characters: int) -> Conversation:
    """A conversation of questions with a picture and short answers."""
    conversation = Conversation.objects.create(user=user, title="t", title_is_set=True)
    parent = None
    for number in range(exchanges):
        question = Message.objects.create(conversation=conversation, parent=parent, role="user", parts=picture(characters))
        parent = Message.objects.create(
            conversation=conversation, parent=question, role="assistant", content=f"answer {number}", model=MODEL
        )
    conversation.leaf = parent
    conversation.save()
    return conversation


def chain(conversation: Conversation) -> list[Any]:
    return list(conversation.messages.order_by("id").values_list("id", flat=True))


def characters_of(branch: list[Message]) -> int:
    return sum(len(message.content) + sum(len(part["data"]) for part in message.parts) for message in branch)


@pytest.fixture(autouse=True)
def _forgetful():
    history.message_cache.forget()


@pytest.mark.parametrize(("limit", "exchanges"), [(250_000, 2), (1_000_000, 9), (100_000_000, 12), (50_000, 0)])
def test_the_newest_messages_that_fit_are_read_and_no_others(user, settings, limit, exchanges):
    settings.MAX_PROMPT_CHARACTERS = limit
    ids = chain(talk(user, 12, 100_000))
    found = history.read_branch(ids)
    assert [message.id for message in found] == ids[len(ids) - len(found) :]
    assert sum(message.role == "user" for message in found) == exchanges and characters_of(found) <= limit


def test_a_conversation_of_many_pictures_takes_no_more_memory_than_one_call_may_hold(user, settings):
    settings.MAX_PROMPT_CHARACTERS = 3_000_000
    ids = chain(talk(user, 30, 1_000_000))
    history.read_branch(ids)
    tracemalloc.start()
    try:
        found = history.read_branch(ids)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 1_000_000 < characters_of(found) <= 3_000_000
    assert peak < 5 * settings.MAX_PROMPT_CHARACTERS, peak


async def test_pictures_beyond_the_limit_are_dropped_though_the_window_would_take_them(principal, settings):
    settings.MAX_PROMPT_CHARACTERS = 250_000
    branch = []
    for number in range(6):
        branch += [Message(role="user", parts=picture(100_000)), Message(role="assistant", content=f"a{number}")]
    branch.append(Message(role="user", content="last"))
    fitted = await history.fit(turns.TurnRequest(content="last", model=MODEL), branch, unread=7)
    assert messages.characters(fitted.request) <= 250_000
    assert (fitted.sent, fitted.dropped) == (5, len(branch) - 5 + 7)


async def test_a_turn_in_such_a_conversation_sends_what_fits_and_says_what_was_left_out(user, key, vendors, settings):
    settings.MAX_PROMPT_CHARACTERS = 250_000
    conversation = await in_db(talk, user, 6, 100_000)
    ask = {"content": "And now?", "model": MODEL, "conversation_id": str(conversation.id)}
    async with vendors() as sim:
        planned = await whole("POST", API + "route", ask, key=key)
        assert planned.status == 200 and planned.json["history"] == {"messages_sent": 5, "messages_dropped": 8}
        answer = await whole("POST", API + "send", ask, key=key)
        assert answer.status == 200, answer.body
        assert len(sim.requests) == 1 and answer.json["message"]["route"]["history"] == planned.json["history"]


BODIES: dict[str, dict[str, Any]] = {
    API + "send": {"content": "x" * 2000, "model": MODEL},
    API + "route": {"content": "x" * 2000, "model": MODEL},
    "/v1/chat/completions": {"model": MODEL, "messages": [{"role": "user", "content": "x" * 2000}]},
    "/v1/messages": {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "x" * 2000}]},
    "/v1/responses": {"model": MODEL, "input": "x" * 2000},
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_single_prompt_beyond_the_limit_is_refused_before_anything_is_held_or_sent(path, key, vendors, settings):
    settings.MAX_PROMPT_CHARACTERS = 1000
    async with vendors() as sim:
        answer = await whole("POST", path, BODIES[path], key=key)
        assert answer.status == 413, answer.body
        assert "too large" in answer.json["error"]["message"] and not sim.requests
    assert await Hold.objects.acount() == await UsageLog.objects.acount() == 0


@pytest.mark.parametrize("kind", get_args(messages.Part))
def test_every_text_of_every_kind_of_part_counts(kind):
    texts = [one.name for one in fields(kind) if one.type == "str"]
    assert texts
    part = kind(**{name: "x" * 10 for name in texts})
    request = CompletionRequest((messages.Message("user", (part, part)),), "system")
    assert messages.characters(request) == 6 + 2 * 10 * len(texts)


def test_the_prompt_for_a_title_and_the_title_are_short_whatever_was_said():
    huge = "many words\n" * 1_000_000
    tracemalloc.start()
    try:
        prompt, title, first = titles.prompt(huge, huge), titles.tidy(huge), turn_store.first_words(huge)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(prompt) < 2100 and title == "many words" and len(first) <= 61 and peak < 1_000_000


@pytest.mark.parametrize("characters", [100, 1_000_000])
def test_a_page_of_messages_is_bounded_by_what_it_holds_and_nothing_is_left_out_of_the_pages(user, client, monkeypatch, characters):
    monkeypatch.setattr(branches, "MOST_BYTES", 3_000_000)
    conversation = talk(user, 12, characters)
    client.force_login(user)
    url, seen, longest = f"{API}conversations/{conversation.id}/messages", [], 0
    client.get(url)
    while url:
        tracemalloc.start()
        page = client.get(url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert page.status_code == 200 and page.json()["results"] and peak < 25_000_000, peak
        seen += [row["id"] for row in page.json()["results"]]
        url, longest = page.json()["next"], max(longest, len(page.content))
    assert seen == [str(id) for id in chain(conversation)]
    assert longest < 3_100_000


def test_a_message_that_is_larger_than_a_page_may_be_is_a_page_by_itself(user, client, monkeypatch):
    monkeypatch.setattr(branches, "MOST_BYTES", 1000)
    conversation = talk(user, 2, 5000)
    client.force_login(user)
    first = client.get(f"{API}conversations/{conversation.id}/messages").json()
    assert len(first["results"]) == 1 and len(client.get(first["next"]).json()["results"]) == 1
