"""The pool over a real PostgreSQL, one that is not there, and one that ends its connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from psycopg_pool import PoolTimeout

from aiagents.core.db.postgres.base import ASK_EVERY, PATIENCE, DatabaseWrapper, Pool

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


def test_a_server_that_is_away_is_said_once_slowly_and_then_at_once(make):
    pool = make(kwargs={"host": "/nowhere"}, timeout=10.0)
    assert PATIENCE <= seconds(pool, psycopg.OperationalError) < PATIENCE + 1
    assert seconds(pool, psycopg.OperationalError) < 0.05
    time.sleep(ASK_EVERY)
    assert seconds(pool, psycopg.OperationalError) < 0.3, "the one who asks again is refused by the server, not by a time-out"


def test_a_server_that_comes_back_is_found_by_the_next_who_asks(make):
    pool = make(kwargs={"host": "/nowhere"})
    seconds(pool, psycopg.OperationalError)
    pool.kwargs["host"] = connection.get_connection_params()["host"]
    time.sleep(ASK_EVERY)
    begun = time.monotonic()
    found = pool.getconn()
    assert found.execute("SELECT 1").fetchone() == (1,) and time.monotonic() - begun < 2
    pool.putconn(found)


def test_a_pool_that_is_all_in_use_is_no_server_that_is_away(make):
    pool = make(max_size=1)
    held = pool.getconn()
    assert 1.8 < seconds(pool, PoolTimeout) < 3
    pool.putconn(held)
    begun = time.monotonic()
    pool.putconn(pool.getconn())
    assert time.monotonic() - begun < 0.2


def test_connections_that_the_server_ended_meanwhile_are_given_to_nobody(make):
    pool = make(min_size=2)
    pool.wait()
    ended = [pool.getconn(), pool.getconn()]
    pids = [one.info.backend_pid for one in ended]
    for one in ended:
        pool.putconn(one)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [pids])
    time.sleep(0.3)
    for _ in range(2):
        found = pool.getconn()
        assert found.execute("SELECT 1").fetchone() == (1,)
        pool.putconn(found)


def test_the_product_uses_it(settings):
    assert isinstance(connections["default"], DatabaseWrapper)
    made = DatabaseWrapper({**connections["default"].settings_dict, "OPTIONS": {"pool": {"min_size": 1, "max_size": 2}}}, alias="pooled")
    assert isinstance(made.pool, Pool) and made.pool is made.pool
    DatabaseWrapper._connection_pools.pop("pooled")
