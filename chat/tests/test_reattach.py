"""The same events from another process, from the log in Valkey, and later from the row; cancelled from anywhere."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from aiagents.core.db import calls
from aiagents.core.live import liveness
from aiagents.core.live import outage_heartbeat as alive
from aiagents.core.valkey import clients as valkey
from chat.models import Message
from chat.tests.conftest import begin, collect, quiet
from chat.tests.making import left_behind
from chat.turns import running as running_turns
from chat.turns import service as turns
from chat.turns import store as turn_store
from chat.turns import stored
from chat.turns.stored import event_log
from tests.kit.waiting import until


async def elsewhere(message_id, after=-1):
    """What a process that does not run the turn shows of it."""
    return await collect(stored.follow(message_id, after))


async def test_another_process_shows_the_same_from_every_place_during_and_after(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=15,pace=8]] Go")
        places = (-1, 0, 1, 2)  # a slow machine has few events: text that comes meanwhile is one
        during = await asyncio.gather(*(elsewhere(turn.message_id, after) for after in places))
        whole = await collect(turn.view())
        await quiet()
        for after, lines in zip(places, during, strict=True):
            assert lines == (whole[after + 1 :] or whole[-1:])
        for after in range(-1, len(whole) + 2):
            assert await elsewhere(turn.message_id, after) == (whole[after + 1 :] or whole[-1:])


async def test_without_its_log_a_turn_is_told_from_its_row_without_repeat(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=15]] Go")
        whole = await collect(turn.view())
        await quiet()
        await valkey.client().delete(event_log.key(turn.message_id))
        told = await elsewhere(turn.message_id)
        assert [kind for _, kind, _ in told] == ["message.start", "content.delta", "message.end"]
        start = json.loads(told[0][2])
        assert start["message_id"] == str(turn.message_id) and start["model"] == "gpt-4o-mini" and told[-1] == whole[-1]
        assert json.loads(told[1][2])["text"] == turn.message.content
        assert [seq for seq, _, _ in told] == [0, len(whole) - 2, len(whole) - 1]
        for after in (0, 5, len(whole) - 1, 10_000):
            assert await elsewhere(turn.message_id, after) == whole[-1:]


async def test_a_log_that_was_lost_in_mid_turn_is_written_again_from_the_first_event(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=40,pace=10]] Go")
        await until(lambda: turn.logged)
        await valkey.client().flushdb()
        whole = await collect(turn.view())
        await quiet()
        assert await elsewhere(turn.message_id) == whole


async def test_a_batch_that_is_written_twice_stands_once(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=10]] Go")
        whole = await collect(turn.view())
        await quiet()
        assert await event_log.write({turn.message_id: (whole[2:6], False)}) == {turn.message_id: len(whole) - 1}
        assert await elsewhere(turn.message_id) == whole


@pytest.fixture
def broken_valkey(monkeypatch):
    """Valkey is away for the async clients of this test."""

    def broken():
        return redis.asyncio.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2, retry=None)

    monkeypatch.setattr(valkey, "client", broken)
    monkeypatch.setattr(valkey, "blocking_client", broken)


async def test_without_valkey_a_turn_is_watched_cancelled_and_stored_in_its_process(principal, vendors, broken_valkey, monkeypatch):
    monkeypatch.setattr(liveness, "LOG_PATIENCE_SECONDS", 0.2)
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=15,pace=3]] Go")
        lines = await collect(turn.view())
        assert lines[-1][1] == "message.end"
        slow = await begin(principal, "[[sim:chunks=500,pace=10]] Go")
        await asyncio.sleep(0.1)  # in the middle of the answer
        assert (await turns.cancel(principal, slow.message_id))["status"] == "cancelled"
        assert (await elsewhere(turn.message_id))[-1] == lines[-1]


# --- another process, truly: its own loop, registry and database connections -------------------------


def in_another_process(coroutine):
    """Run on a loop of another thread; await the result."""
    return asyncio.to_thread(asyncio.run, coroutine)


@pytest.mark.django_db(transaction=True)
async def test_a_turn_is_cancelled_from_another_process(principal, vendors, db_threads):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=1000,pace=10]] Go")
        await until(lambda: turn.logged)

        async def there():
            assert running_turns.here() is not mine
            watching = asyncio.create_task(collect(await turns.attach(principal, turn.message_id)))
            await asyncio.sleep(0.2)  # the viewer reads the log meanwhile
            answer = await turns.cancel(principal, turn.message_id)
            lines = await watching
            await valkey.client().aclose()
            return answer, lines

        mine = running_turns.here()
        answer, lines = await in_another_process(there())
        assert answer["status"] == "cancelled" and answer["content"]
        assert lines == await collect(turn.view())


@pytest.mark.django_db(transaction=True)
async def test_progress_reaches_the_row_while_the_turn_runs(principal, vendors, db_threads, settings):
    settings.PROGRESS_INTERVAL_SECONDS = 0.1
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=200,pace=10]] Go")
        row = await until(lambda: calls.in_db(Message.objects.filter(id=turn.message_id, content__gt="").first))
        assert row.status == "streaming" and row.heartbeat_at and row.last_seq > 0
        turn.cancel()
        assert (await turn.finished())["content"].startswith(row.content)


# --- the sweeper --------------------------------------------------------------------------------------


def test_the_sweeper_ends_what_is_silent_and_nothing_else(user):
    dead, alive = left_behind(user), left_behind(user, silent=5)
    assert turns.sweep() == 1 and turns.sweep() == 0
    dead.refresh_from_db()
    alive.refresh_from_db()
    assert dead.status == "interrupted" and dead.content == "partial " and dead.error["code"] == "interrupted" and dead.ended_at
    assert alive.status == "streaming"


async def test_the_sweeper_takes_the_fuller_text_and_closes_the_log(user):
    dead = await calls.in_db(left_behind, user)
    lines = [(0, "message.start", b'{"model":"m","provider":"p","route":{}}')]
    lines += [(seq, "content.delta", json.dumps({"text": f"w{seq} "}).encode()) for seq in range(1, 7)]
    await event_log.write({dead.id: (lines, True)})
    assert await calls.in_db(turns.sweep) == 1
    await dead.arefresh_from_db()
    assert dead.content == "w1 w2 w3 w4 w5 w6 " and dead.model == "m" and dead.last_seq == 7
    told = await elsewhere(dead.id, 4)
    assert told[:-1] == lines[5:] and told[-1][:2] == (7, "error")
    assert json.loads(told[-1][2])["error"]["code"] == "interrupted"


async def test_the_sweeper_believes_a_turn_that_had_said_its_end(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=5]] Go")
        answer = await turn.finished()
        await quiet()
    stale = timezone.now() - timedelta(seconds=60)
    await Message.objects.filter(id=turn.message_id).aupdate(status="streaming", content="", heartbeat_at=stale, cost_usd=0)
    assert await calls.in_db(turns.sweep) == 1
    stored = await Message.objects.aget(id=turn.message_id)
    assert stored.status == "complete" and stored.content == answer["content"] and stored.cost_usd > 0


def test_the_sweeper_leaves_a_turn_that_lives_but_cannot_reach_the_database(user):
    answer = left_behind(user)
    valkey.sync_client().set(alive.key("chat", answer.id), 1, ex=20)
    assert turns.sweep() == 0


async def test_costs_that_were_settled_later_reach_the_message(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=5]] Go")
        await turn.finished()
        await quiet()
    cost = turn.message.cost_usd
    await Message.objects.filter(id=turn.message_id).aupdate(status="interrupted", cost_usd=0, output_tokens=0)
    await calls.in_db(turns.sweep)
    assert (await Message.objects.aget(id=turn.message_id)).cost_usd == cost > 0


@pytest.mark.django_db(transaction=True)
async def test_an_end_that_the_database_cannot_take_is_told_at_once_and_stored_later(principal, vendors, db_threads, monkeypatch):
    from aiagents.core.errors import Unavailable

    away = {"until": 3}
    finish = turn_store.finish

    def failing(answer, *, from_usage_log):
        if away["until"]:
            away["until"] -= 1
            raise Unavailable
        return finish(answer, from_usage_log=from_usage_log)

    monkeypatch.setattr(turn_store, "finish", failing)
    monkeypatch.setattr(liveness, "DATABASE_RETRY_SECONDS", 0.05)
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=5]] Go")
        lines = await collect(turn.view())
        assert lines[-1][1] == "message.end" and turn.unstored
    stored = await calls.in_db(Message.objects.get, id=turn.message_id)
    assert stored.status == "complete" and stored.content == json.loads(lines[-1][2])["content"]
