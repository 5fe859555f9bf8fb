"""Exports of conversations of any size: the same bytes, and memory for one message at a time."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from accounts import keys
from accounts.models import User
from chat.conversations import export
from chat.models import Conversation, Message
from tests.kit.wire import ask, product

LONG = "a line of text\n" * 30_000  # 450 kB


def conversation_of(user: User, messages: int, text: str) -> Conversation:
    conversation = Conversation.objects.create(user=user, title="Long one")
    above = None
    for number in range(messages):
        role = Message.Role.ASSISTANT if number % 2 else Message.Role.USER
        above = Message.objects.create(conversation=conversation, parent=above, role=role, content=f"{number}: {text}", status="complete")
    Conversation.objects.filter(pk=conversation.pk).update(leaf=above)
    conversation.refresh_from_db()
    return conversation


@pytest.fixture
def key(user) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


@pytest.fixture
def large(user) -> Conversation:
    return conversation_of(user, 40, LONG)


@pytest.fixture
def small(user) -> Conversation:
    return conversation_of(user, 4, "short")


async def whole(stream) -> bytes:
    return b"".join([piece async for piece in stream])


async def test_a_stream_holds_the_same_bytes_as_the_whole(small):
    for make, stream in ((export.as_json, export.stream_json), (export.as_markdown, export.stream_markdown)):
        assert await whole(stream(small)) == await export.in_db(make, small)


@pytest.mark.parametrize("form", ["json", "markdown"])
async def test_a_large_export_is_whole_and_held_one_message_at_a_time(large, key, form: str):
    stream = export.stream_json if form == "json" else export.stream_markdown
    assert await export.in_db(export.size, large) > 40 * len(LONG)
    sizes = [len(piece) async for piece in stream(large)]  # once, so that what is loaded only now is not counted
    tracemalloc.start()
    try:
        async for _ in stream(large):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) > 17_000_000 and peak < 15_000_000, f"{peak / 1e6:.1f} MB at once"
    answer = await ask(product, "GET", f"/api/v1/chat/conversations/{large.pk}/export?format={form}", None, {}, key)
    assert answer.status == 200 and answer.headers["content-disposition"].startswith("attachment") and len(answer.parts) > 40
    if form == "json":
        assert [message["content"].partition(":")[0] for message in json.loads(answer.body)["messages"]] == [str(n) for n in range(40)]
    else:
        assert answer.body.count(b"## You") == 20 and answer.body.endswith(b"a line of text\n\n")


async def test_a_message_that_is_deleted_meanwhile_leaves_valid_json(small):
    first = await Message.objects.filter(conversation=small).order_by("id").afirst()
    pieces = []
    async for piece in export.stream_json(small):
        if not pieces:
            await Message.objects.filter(parent=first).aupdate(parent=None)
            await Message.objects.filter(pk=first.pk).adelete()
        pieces.append(piece)
    assert len(json.loads(b"".join(pieces))["messages"]) == 3
