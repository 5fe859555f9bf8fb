"""The pool with a real PostgreSQL, with an unreachable one, and with one that closes its connections."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from psycopg_pool import PoolTimeout

from aiagents.core.db.postgres.base import POOL_WAIT, PROBE_EVERY, DatabaseWrapper, Pool
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.skipif(settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"), reason="PostgreSQL only")


@pytest.fixture
def make(db) -> Iterator[Any]:
    made: list[Pool] = []

    def make(**options: Any) -> Pool:
        wanted = {"min_size": 1, "max_size": 2, "timeout": 2.0} | options
        made.append(
            Pool(kwargs={**connection.get_connection_params(), **wanted.pop("kwargs", {}), "autocommit": True}, open=True, **wanted)
        )
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def seconds(pool: Pool, error: type[Exception]) -> float:
    begun = time.monotonic()
    with pytest.raises(error):
        pool.getconn()
    return time.monotonic() - begun


def test_an_unreachable_server_fails_the_first_caller_after_the_wait_and_later_ones_at_once(make):
    pool = make(kwargs={"host": "/nowhere"}, timeout=10.0)
    assert POOL_WAIT <= seconds(pool, psycopg.OperationalError) < POOL_WAIT + 6
    assert seconds(pool, psycopg.OperationalError) < POOL_WAIT / 2
    time.sleep(PROBE_EVERY)  # until the server is tried again
    assert seconds(pool, psycopg.OperationalError) < POOL_WAIT / 2, "the next probe is refused by the server, not by a time-out"


def test_the_next_caller_finds_a_server_that_recovered(make):
    pool = make(kwargs={"host": "/nowhere"})
    seconds(pool, psycopg.OperationalError)
    pool.kwargs["host"] = connection.get_connection_params()["host"]
    time.sleep(PROBE_EVERY)  # until the server is tried again
    begun = time.monotonic()
    found = pool.getconn()
    assert found.execute("SELECT 1").fetchone() == (1,) and time.monotonic() - begun < 10
    pool.putconn(found)


def test_an_exhausted_pool_is_not_taken_for_an_unreachable_server(make):
    pool = make(max_size=1)
    held = pool.getconn()
    assert 1.8 < seconds(pool, PoolTimeout) < 8
    pool.putconn(held)
    begun = time.monotonic()
    pool.putconn(pool.getconn())
    assert time.monotonic() - begun < 1.5


def test_the_pool_gives_out_no_connection_that_the_server_closed(make):
    pool = make(min_size=2)
    pool.wait()
    ended = [pool.getconn(), pool.getconn()]
    pids = [one.info.backend_pid for one in ended]
    for one in ended:
        pool.putconn(one)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [pids])
    assert wait_for(lambda: all(select.select([one.fileno()], [], [], 0)[0] for one in ended)), "the server has not closed them"
    for _ in range(2):
        found = pool.getconn()
        assert found.execute("SELECT 1").fetchone() == (1,)
        pool.putconn(found)


def test_the_product_uses_it(settings):
    assert isinstance(connections["default"], DatabaseWrapper)
    made = DatabaseWrapper({**connections["default"].settings_dict, "OPTIONS": {"pool": {"min_size": 1, "max_size": 2}}}, alias="pooled")
    assert isinstance(made.pool, Pool) and made.pool is made.pool
    DatabaseWrapper._connection_pools.pop("pooled")
