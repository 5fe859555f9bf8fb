"""Many at once: real threads, real connections, real locks."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection, connections

from accounts.models import ApiKey
from aiagents.core.db import calls as db
from aiagents.core.errors import BudgetExceeded
from aiagents.core.ids import uuid7
from billing import invariants
from billing.budgets import budgets
from billing.ledger import service as ledger
from billing.ledger.charging import Outcome
from billing.models import BudgetWindow, Hold, UsageLog
from billing.tests.making import CENT, RATES, balances, call_of, make_user, used

pytestmark = pytest.mark.django_db(transaction=True)


def test_exactly_as_many_are_admitted_as_fit_and_afterwards_every_cent_is_accounted_for(db_threads):
    user = make_user(D("0.37"))

    async def one() -> D:
        try:
            held = await ledger.hold(call_of(user), CENT, RATES, 1000)
        except BudgetExceeded:
            return D(0)
        admitted.append(held)
        return held.amount

    async def all_together() -> None:
        assert sum(await asyncio.gather(*[one() for _ in range(200)])) == D("0.37")
        assert balances_now() == (0, D("0.37"))
        await asyncio.gather(*[ledger.settle(held, used(D("0.001"))) for held in admitted])

    def balances_now():
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(lambda: (balances("user", user.pk), connections.close_all())[0]).result()

    admitted: list = []
    async_to_sync(all_together)()
    assert len(admitted) == 37
    assert balances("user", user.pk) == balances("system") == (D("0.037"), 0)
    assert UsageLog.objects.count() == 37
    assert invariants.violations() == []


def test_no_call_is_refused_while_money_is_available(db_threads):
    user = make_user(D("0.02"))

    async def one() -> None:
        async with gate:  # two at a time, room for two: a released cent must be there at once
            held = await ledger.hold(call_of(user), CENT, RATES, 1000)
            await ledger.settle(held, Outcome("failed", None, started=False))

    async def all_together() -> None:
        await asyncio.gather(*[one() for _ in range(100)])

    gate = asyncio.Semaphore(2)
    async_to_sync(all_together)()
    assert UsageLog.objects.count() == 100
    assert balances("user", user.pk) == (0, 0)


def test_mixed_users_keys_agents_and_sweeps_neither_deadlock_nor_lose_anything(db_threads):
    users = [make_user(D(5)) for _ in range(4)]
    keys = {user.pk: [ApiKey.objects.create(user=user, name="k", prefix="p", digest=uuid7().hex) for _ in range(3)] for user in users}
    agents, tasks = [uuid7() for _ in range(3)], [uuid7() for _ in range(3)]
    for scope, ids in [("key", [key.pk for owned in keys.values() for key in owned]), ("agent", agents), ("task", tasks)]:
        for scope_id in ids:
            budgets.set_limit(scope, scope_id, D("0.5"))
    chance = random.Random(7)
    calls = []
    for _ in range(400):
        user = chance.choice(users)
        calls.append(
            call_of(
                user,
                api_key_id=chance.choice([None, *[key.pk for key in keys[user.pk]]]),
                agent_id=chance.choice([None, *agents]),
                task_id=chance.choice([None, *tasks]),
            )
        )

    async def one(call) -> int:
        try:
            held = await ledger.hold(call, CENT, RATES, 1000)
            await ledger.progress({held.call.call_id: chance.randrange(100)})
            if chance.random() < 0.3:
                following = call_of(users[0], **{**call_fields(call), "call_id": uuid7(), "attempt": 2})
                held = await ledger.reattempt(held, used(D("0.0001") * chance.randrange(3), "failed"), following, RATES)
            if chance.random() < 0.1:
                await db.in_db(budgets.set_limit, "agent", uuid7(), D(1))  # locks the windows' table
            await ledger.settle(held, used(D("0.0001") * chance.randrange(100)))
        except BudgetExceeded:
            return 0
        return 1

    async def all_together() -> None:
        assert sum(await asyncio.gather(*map(one, calls))) > 100

    async_to_sync(all_together)()
    for row in Hold.objects.filter(status="open"):  # a reattempt that was refused leaves its hold to the caller
        async_to_sync(ledger.settle)(ledger.held_of(row), Outcome("failed", None, started=False))
    assert invariants.violations() == []
    assert set(BudgetWindow.objects.values_list("held_usd", flat=True)) == {D(0)}


def call_fields(call):
    return {name: getattr(call, name) for name in call.__slots__}


def test_settling_twice_at_once_charges_once(db_threads):
    user = make_user()

    async def race() -> None:
        for _ in range(40):
            held = await ledger.hold(call_of(user), CENT, RATES, 1000)
            charges = await asyncio.gather(*[ledger.settle(held, used(D("0.001") * n)) for n in (1, 2, 3)])
            assert len(set(charges)) == 1

    async_to_sync(race)()
    assert UsageLog.objects.count() == 40
    assert invariants.violations() == []


def test_settling_and_sweeping_at_once_ends_a_hold_once(db_threads):
    user = make_user()

    async def race() -> None:
        for _ in range(30):
            held = await ledger.hold(call_of(user), CENT, RATES, 1000)
            await db.in_db(silence)
            await asyncio.gather(ledger.settle(held, used(D("0.001"))), db.in_db(ledger.sweep), db.in_db(ledger.sweep))

    def silence() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE billing_hold SET heartbeat_at = '2020-01-01 00:00:00+00' WHERE status = 'open'")

    async_to_sync(race)()
    assert UsageLog.objects.count() == 30
    assert invariants.violations() == []


def test_a_budget_made_under_load_misses_nothing(db_threads):
    """A key's first limit, set while its calls begin and end: the sums are taken over to the last digit."""
    user = make_user(None)
    key = ApiKey.objects.create(user=user, name="k", prefix="p", digest=uuid7().hex)

    async def one(_) -> None:
        held = await ledger.hold(call_of(user, api_key_id=key.pk), CENT, RATES, 1000)
        await ledger.settle(held, used(D("0.001")))

    async def limit() -> None:
        await asyncio.sleep(0.05)  # in the middle of the others
        await db.in_db(budgets.set_limit, "key", key.pk, None)

    async def all_together() -> None:
        await asyncio.gather(*map(one, range(150)), limit())

    async_to_sync(all_together)()
    assert balances("key", key.pk) == (D("0.150"), 0)
    assert invariants.violations() == []


def test_the_first_calls_of_a_new_user_make_one_budget(db_threads):
    from accounts.models import User

    user = User.objects.create_user("new@example.com", "correct horse battery staple")

    async def all_together() -> None:
        await asyncio.gather(*[ledger.hold(call_of(user), CENT, RATES, 10) for _ in range(20)])

    async_to_sync(all_together)()
    assert balances("user", user.pk) == (0, 20 * CENT)
    assert BudgetWindow.objects.count() == 2


def test_a_dead_connection_is_replaced_without_the_caller_noticing(db_threads):
    """As after a restart of the database: every pooled connection is gone, and the next call succeeds."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server")
    user = make_user()

    async def run() -> None:
        await asyncio.gather(*[ledger.hold(call_of(user), CENT, RATES, 10) for _ in range(settings.DB_THREADS)])
        with another_connection() as aside:
            aside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await asyncio.gather(*[ledger.hold(call_of(user), CENT, RATES, 10) for _ in range(10)])

    async_to_sync(run)()
    connection.close()  # it was ended like the others
    assert Hold.objects.count() == settings.DB_THREADS + 10


def another_connection():
    import psycopg

    params = {
        key: value for key, value in connection.get_connection_params().items() if key in {"dbname", "user", "password", "host", "port"}
    }
    return psycopg.connect(**params, autocommit=True)
