"""A settlement has happened once the disk has it, however many share the wait."""

from __future__ import annotations

import asyncio
import contextvars
from decimal import Decimal

import pytest
from django.db import OperationalError, connection
from django.db.utils import ConnectionHandler

from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from billing.ledger import postgres
from billing.ledger import service as ledger
from billing.models import UsageLog
from billing.tests.making import CENT, RATES, call_of, used

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite's commits always wait"),
]


@pytest.fixture(autouse=True)
def careful(db_threads):
    """New connections wait for the disk: the suite's server, which needs not outlive a power cut, does not by itself."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET synchronous_commit")


@pytest.fixture
def monthly_limit() -> Decimal:
    return Decimal(50)


@pytest.fixture
def flushes(monkeypatch) -> list[int]:
    made, to_disk = [], postgres.write_to_disk
    monkeypatch.setattr(postgres, "write_to_disk", lambda: (made.append(1), to_disk())[1])
    return made


def _lsn(which: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_current_wal_{which}_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])


async def test_forty_at_once_share_the_wait_and_each_is_on_the_disk_when_it_ends(user, flushes):
    async def one(held):
        async with postgres.group_commit() as waits:
            await in_db(ledger.settle_held, held, ledger.log_row(held, used(CENT), ledger.charge(held, used(CENT)), None), None, waits)
            written = 0 if waits else await in_db(_lsn, "insert")
        assert await in_db(_lsn, "flush") >= written
        return written > 0

    helds = [await ledger.hold(call_of(user), CENT, RATES, 10) for _ in range(40)]
    shared = await asyncio.gather(*map(one, helds))
    assert shared.count(True) == 39 and 1 <= len(flushes) < 30
    assert await in_db(UsageLog.objects.count) == 40


async def test_who_is_alone_waits_in_its_own_commit(user, flushes):
    for _ in range(3):
        await ledger.settle(await ledger.hold(call_of(user), CENT, RATES, 10), used(CENT))
    assert flushes == []


async def test_a_lost_flush_is_an_error_and_a_second_settlement_changes_nothing(user, monkeypatch):
    helds = [await ledger.hold(call_of(user), CENT, RATES, 10) for _ in range(2)]

    def away() -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(postgres, "write_to_disk", away)
        first = await asyncio.gather(*(ledger.settle(held, used(CENT)) for held in helds), return_exceptions=True)
    assert [type(one) for one in first] == [ledger.Charge, Unavailable]
    again = await asyncio.gather(*(ledger.settle(held, used(CENT)) for held in helds))
    assert [one.cost_usd for one in again] == [CENT, CENT]
    assert await in_db(UsageLog.objects.count) == 2


async def test_asking_which_database_it_is_makes_no_connection_of_the_requests_own(monkeypatch):
    """On a loop Django gives every request a `connection` that is as expensive as it is useless: it shall not be asked for."""
    made: list[str] = []
    create = ConnectionHandler.create_connection
    monkeypatch.setattr(ConnectionHandler, "create_connection", lambda self, alias: (made.append(alias), create(self, alias))[1])

    async def alone() -> bool:
        async with postgres.group_commit() as waits:
            return waits

    assert await asyncio.create_task(alone(), context=contextvars.Context()) is True
    assert made == []
