"""Sending news: after the commit, never waiting, never failing, bounded; and the one script that sends them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.layers import get_channel_layer
from channels_redis.core import RedisChannelLayer
from django.db import transaction

from aiagents.core.live import news
from aiagents.core.live.channel_layer import ChannelLayer
from aiagents.core.valkey import clients
from tests.kit.waiting import wait_for

USER = UUID(int=7)
KIND = news.Kind.TASK_CHANGED


class Recorder(ChannelLayer):
    """Keeps what is sent; `gate` holds the sender up, `fails` lets it fail."""

    def __init__(self) -> None:
        self.sent: list[list[tuple[str, dict[str, Any]]]] = []
        self.gate, self.fails = threading.Event(), False
        self.gate.set()

    def send_to_groups(self, client: Any, messages: list[tuple[str, dict[str, Any]]]) -> int:
        self.gate.wait(30)
        if self.fails:
            raise ConnectionError
        self.sent.append(messages)
        return len(messages)

    def all(self, count: int) -> list[tuple[str, str, str]]:
        """Wait for so many news; group, kind and id of each."""

        def found() -> list[Any]:
            return [(group, *item) for batch in list(self.sent) for group, message in batch for item in message["news"]]

        assert wait_for(lambda: len(found()) >= count), found()
        return found()


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(news, "get_channel_layer", lambda: found)
    monkeypatch.setattr(news, "outbox", news.Outbox())
    return found


def test_a_burst_is_one_command_and_the_same_news_are_sent_once(layer: Recorder):
    ids = [uuid4() for _ in range(3)]
    for id in (*ids, *ids):
        news.send_now(USER, KIND, id)
    assert layer.all(3) == [(f"user.{USER}", "task.changed", str(id)) for id in ids]
    assert len(layer.sent) == 1


@pytest.mark.django_db(transaction=True)
def test_news_are_sent_after_the_commit_and_not_after_a_rollback(layer: Recorder):
    first, second = uuid4(), uuid4()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        news.send(USER, KIND, first)
        raise ZeroDivisionError
    with transaction.atomic():
        news.send(USER, KIND, second)
        time.sleep(4 * news.BATCH_SECONDS)  # nothing is to come
        assert layer.sent == []
    assert [id for _, _, id in layer.all(1)] == [str(second)]


def test_a_layer_that_hangs_delays_nobody_and_what_waits_is_bounded(layer: Recorder):
    layer.gate.clear()
    begun = time.monotonic()
    for number in range(3 * news.MOST_WAITING):
        news.send_now(USER, KIND, UUID(int=number))
    assert time.monotonic() - begun < 20
    layer.gate.set()
    layer.all(1)
    time.sleep(4 * news.BATCH_SECONDS)  # nothing more is to come
    assert len(layer.all(1)) <= 2 * news.MOST_WAITING


def test_a_layer_that_is_away_fails_nobody_and_is_tried_again(layer: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setattr(news, "PAUSE_SECONDS", 0.2)
    layer.fails = True

    def sent(id: UUID) -> None:
        news.send_now(USER, KIND, id)

    assert wait_for(lambda: sent(uuid4()) or "news_not_sent" in caplog.text)
    layer.fails, last = False, uuid4()
    assert wait_for(lambda: sent(last) or layer.sent)
    assert layer.all(1)[-1][2] == str(last)
    assert caplog.text.count("news_not_sent") == 1, "one line for one outage"


def test_a_forked_child_begins_with_an_outbox_of_its_own(layer: Recorder, monkeypatch: pytest.MonkeyPatch):
    before = news.outbox
    news.forget_after_fork()
    assert news.outbox is not before


async def test_the_script_sends_what_group_send_sends():
    layer: Any = get_channel_layer()
    names, other = [await layer.new_channel() for _ in range(2)], await layer.new_channel()
    group = f"user.{uuid4()}"
    for name in names:
        await layer.group_add(group, name)
    message = {"type": "user.news", "news": [["task.changed", str(uuid4())], ["run.changed", str(uuid4())]]}
    receiving = [asyncio.create_task(layer.receive(name)) for name in (*names, other)]
    await layer.group_send(group, dict(message))
    async with asyncio.timeout(10):
        first = await asyncio.gather(*receiving[:2])
    again = [asyncio.create_task(layer.receive(name)) for name in names]
    sent = await asyncio.to_thread(layer.send_to_groups, clients.sync_client(), [(group, message), (f"user.{uuid4()}", message)])
    async with asyncio.timeout(10):
        second = await asyncio.gather(*again)
    receiving[2].cancel()
    await asyncio.wait([receiving[2]])
    assert first == second == [message, message] and sent == 1
    for name in names:
        await layer.group_discard(group, name)
    assert await asyncio.to_thread(layer.send_to_groups, clients.sync_client(), [(group, message)]) == 0


async def test_messages_to_a_channel_that_ended_are_not_kept(monkeypatch: pytest.MonkeyPatch):
    layer: Any = get_channel_layer()
    gone, stays = await layer.new_channel(), await layer.new_channel()

    async def single(self: RedisChannelLayer, channel: str) -> tuple[list[str], dict[str, str]]:
        return [gone, stays], {"type": "user.news"}

    monkeypatch.setattr(RedisChannelLayer, "receive_single", single)
    ending = asyncio.create_task(layer.receive(gone))
    await asyncio.sleep(0)
    layer.forget(gone)
    ending.cancel()
    await asyncio.wait([ending])
    assert (await layer.receive(stays))["type"] == "user.news"
    assert gone not in layer.receive_buffer
