"""Work whose process cannot reach the database is not taken for dead."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
import redis

from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.ids import uuid7
from aiagents.core.live import outage_heartbeat
from aiagents.core.valkey import clients as valkey
from tests.kit.waiting import until

HERE, THERE = uuid7(), uuid7()


async def heard() -> set[UUID]:
    return await in_db(outage_heartbeat.among, "test", (THERE, HERE))


async def test_a_heartbeat_that_the_database_takes_needs_no_word():
    async def beat() -> str:
        return "taken"

    assert await outage_heartbeat.beat(beat(), "test", [HERE], 20) == "taken"
    assert await heard() == set()


async def test_one_that_it_refuses_is_said_and_the_refusal_passed_on():
    async def beat() -> None:
        raise Unavailable

    with pytest.raises(Unavailable):
        await outage_heartbeat.beat(beat(), "test", [HERE], 20)
    assert await heard() == {HERE}
    assert 19_000 < await valkey.client().pttl(outage_heartbeat.key("test", HERE)) <= 20_000


async def test_one_that_hangs_is_said_as_long_as_it_hangs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outage_heartbeat, "PATIENCE", 0.02)
    goes_on = asyncio.Event()

    async def beat() -> str:
        await goes_on.wait()
        return "late"

    waiting = asyncio.create_task(outage_heartbeat.beat(beat(), "test", [HERE], 20))
    for _ in range(2):
        await until(heard)
        await valkey.client().delete(outage_heartbeat.key("test", HERE))
    goes_on.set()
    assert await waiting == "late"


async def test_with_valkey_away_too_the_heartbeat_is_what_it_is(settings, monkeypatch: pytest.MonkeyPatch):
    async def beat() -> None:
        raise Unavailable

    settings.REDIS_URL = "redis://127.0.0.1:1"
    monkeypatch.setattr(valkey, "clients_by_loop", type(valkey.clients_by_loop)())
    with pytest.raises(Unavailable):
        await outage_heartbeat.beat(beat(), "test", [HERE], 20)
    monkeypatch.setattr(valkey, "sync_client", lambda: redis.Redis.from_url(settings.REDIS_URL))
    assert await heard() == set()


async def test_who_leaves_takes_the_heartbeat_along():
    ended = asyncio.Event()

    async def beat() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.create_task(outage_heartbeat.beat(beat(), "test", [HERE], 20))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(10):
        await ended.wait()
