"""Rollups equal the usage log, whatever arrives when."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from threading import Barrier, Thread

import pytest
from django.core.management import call_command
from django.db import connection, connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiagents.core.ids import uuid7
from billing import invariants, tasks
from billing.budgets import budgets
from billing.models import Hold, RollupState, UsageLog, UsageRollup
from billing.reports import rollups
from billing.reports.rollups import DAY, HOUR
from billing.tests.rollup_rows import NOON, USERS, Clock, log
from tests.kit.sampling import examples

pytestmark = pytest.mark.django_db
KEYS = [None, uuid7()]


@pytest.fixture
def clock(monkeypatch):
    found = Clock(NOON)
    monkeypatch.setattr(budgets, "database_now", found)
    return found


def raw_sum() -> D:
    return sum((row.cost_usd for row in UsageLog.objects.all()), D(0))


def rolled_sum(kind: str, slice_: str) -> tuple[int, D]:
    rows = UsageRollup.objects.filter(kind=kind, slice=slice_)
    return sum(row.calls for row in rows), sum((row.cost_usd for row in rows), D(0))


def assert_equal(until: datetime) -> None:
    """Every slice of both kinds adds up to the rows of the hours, and days, that have ended."""
    assert list(rollups.differences()) == []
    for kind, end in (("hour", rollups.floor_hour(until)), ("day", rollups.floor_day(until))):
        rows = [row for row in UsageLog.objects.all() if row.created_at < end]
        for slice_ in rollups.BY:
            assert rolled_sum(kind, slice_) == (len(rows), sum((row.cost_usd for row in rows), D(0)))


def test_hours_and_days_are_added_up_once_they_ended(clock):
    log(NOON - 3 * HOUR)
    log(NOON - 3 * HOUR, status="failed", model="n", simulated=True)
    log(NOON - 30 * HOUR)
    log(NOON - timedelta(minutes=10))  # this hour
    rollups.catch_up()
    assert_equal(NOON)
    assert {row.starts_at.hour for row in UsageRollup.objects.filter(kind="hour")} == {9, 6}
    assert [row.starts_at.day for row in UsageRollup.objects.filter(kind="day", slice="user")] == [4]
    assert RollupState.objects.get().rolled_until == datetime(2026, 3, 5, 12, tzinfo=UTC)


def test_a_second_look_changes_nothing(clock):
    log(NOON - 5 * HOUR)
    assert rollups.catch_up() > 0
    before = list(UsageRollup.objects.order_by("pk").values())
    assert rollups.catch_up() == 0
    assert list(UsageRollup.objects.order_by("pk").values()) == before


def test_a_row_that_comes_late_is_counted_where_it_was_admitted(clock):
    log(NOON - 2 * DAY)
    rollups.catch_up()
    clock.now = NOON + timedelta(minutes=3)
    log(NOON - 2 * DAY, ended=NOON + timedelta(minutes=2), cost_usd=D("1.5"))
    log(NOON - 5 * HOUR, ended=NOON + timedelta(minutes=2), cost_usd=D("2.5"))
    assert rollups.catch_up() == 2
    assert_equal(clock.now)


def test_a_statement_that_was_still_running_at_the_last_look_is_not_missed(clock):
    rollups.catch_up()
    clock.now = NOON + timedelta(minutes=1)
    # It began, and dated its row and hold, before the last look, and was committed after it.
    log(NOON - 2 * HOUR, ended=NOON - timedelta(seconds=20))
    assert rollups.catch_up() == 1
    assert_equal(clock.now)


def test_a_charge_without_a_hold_is_counted(clock):
    rollups.catch_up()
    clock.now = NOON + timedelta(minutes=41)
    made = log(NOON + timedelta(minutes=39, seconds=59))
    Hold.objects.all().delete()
    rollups.catch_up()
    assert_equal(clock.now)
    assert UsageRollup.objects.filter(kind="hour", starts_at=made.created_at.replace(minute=0, second=0)).exists()


@pytest.mark.parametrize("most", [2, 200_000])
def test_after_weeks_without_a_worker_nothing_is_missing(clock, monkeypatch, most):
    monkeypatch.setattr(rollups, "STEP_ROWS", most)
    log(NOON - 40 * DAY)
    rollups.catch_up()
    clock.now = NOON + 33 * DAY
    for days in range(33):
        log(NOON + days * DAY)
    rollups.catch_up()
    assert_equal(clock.now)


def test_a_clock_that_is_set_back_loses_nothing(clock):
    rollups.catch_up()
    clock.now = NOON - 3 * HOUR
    rollups.catch_up()
    log(NOON - 5 * HOUR, ended=clock.now + timedelta(seconds=30))
    clock.now += timedelta(minutes=1)
    rollups.catch_up()
    assert_equal(clock.now)


def test_holds_that_still_have_to_be_looked_at_are_not_pruned(clock):
    rollups.catch_up()
    log(NOON - HOUR, ended=NOON + timedelta(minutes=1))
    clock.now = NOON + 3 * DAY
    assert tasks.prune_holds() == 0
    rollups.catch_up()
    assert_equal(clock.now)
    clock.now += timedelta(minutes=20)
    rollups.catch_up()
    assert tasks.prune_holds() == 1


def test_rebuilding_mends_what_was_broken(clock):
    for hours in (3, 30, 100):
        log(NOON - hours * HOUR, cost_usd=D("0.25"))
    rollups.catch_up()
    UsageRollup.objects.filter(slice="user").update(cost_usd=D(9))
    UsageRollup.objects.filter(slice="model", kind="day").delete()
    assert {one.slice for one in rollups.differences()} == {"user", "model"}
    assert next(one.rule for one in invariants.rollups_are_sums()) == "I3"
    call_command("rollups", "rebuild", "--from", "2026-03-01", "--to", "2026-03-06")
    assert_equal(clock.now)


def test_the_nightly_check_mends_and_says_so(clock, caplog):
    log(NOON - 30 * HOUR)
    rollups.catch_up()
    UsageRollup.objects.filter(slice="work", kind="day").update(calls=7)
    tasks.verify_rollups()
    assert "rollups_differ" in caplog.text
    assert_equal(clock.now)


def test_hours_are_dropped_after_their_time_and_days_stay(clock, settings):
    log(NOON - 5 * DAY)
    rollups.catch_up()
    settings.ROLLUP_HOURS_KEPT_DAYS = 3
    assert rollups.prune() == len(rollups.BY)
    assert list(rollups.differences()) == []
    assert rolled_sum("day", "model") == (1, raw_sum())
    rollups.rebuild(NOON - 9 * DAY, NOON)
    assert not UsageRollup.objects.filter(kind="hour").exists()


MOMENTS = st.integers(0, 6 * 24 * 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("log"), MOMENTS, st.integers(0, 10**13), st.integers(0, 2)),
        st.tuples(st.just("catch_up"), st.integers(0, 20 * 60)),
        st.tuples(st.just("rebuild"), MOMENTS, MOMENTS),
    ),
    max_size=25,
)


@pytest.mark.soak
@settings(max_examples=examples(10, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_in_any_order_of_rows_looks_and_rebuilds_both_agree(clock, steps):
    RollupState.objects.all().delete()
    UsageRollup.objects.all().delete()
    UsageLog._base_manager.all()._raw_delete("default")
    Hold.objects.all().delete()
    clock.now = NOON
    for step in steps:
        match step:
            case ("log", ago, pico, who):
                cost = D(pico).scaleb(-12)
                if connection.vendor == "sqlite":  # a column of doubles: 15 digits
                    cost = D(pico % 10**12).scaleb(-12)
                log(clock.now - timedelta(minutes=ago), ended=clock.now, cost_usd=cost, user_id=USERS[who], api_key_id=KEYS[who % 2])
            case ("catch_up", minutes):
                clock.now += timedelta(minutes=minutes)
                rollups.catch_up()
            case ("rebuild", a, b):
                rollups.rebuild(NOON - timedelta(minutes=max(a, b)), NOON - timedelta(minutes=min(a, b)))
    clock.now += timedelta(minutes=1)
    rollups.catch_up()
    assert_equal(clock.now)


@pytest.mark.django_db(transaction=True)
def test_workers_at_the_same_time_count_nothing_twice():
    now = budgets.database_now()
    dice = random.Random(7)
    for _ in range(60):
        log(now - dice.random() * 3 * DAY, ended=now)
    together, errors = Barrier(6), []

    def work(rebuild: bool) -> None:
        try:
            together.wait(10)
            for _ in range(4):
                rollups.rebuild(now - 3 * DAY, now) if rebuild else rollups.catch_up()
        except Exception as exc:
            errors.append(exc)
        finally:
            connections.close_all()

    threads = [Thread(target=work, args=(number % 2 == 1,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        log(now - dice.random() * 3 * DAY, ended=budgets.database_now())
    for thread in threads:
        thread.join()
    assert errors == []
    rollups.catch_up()
    assert list(rollups.differences()) == []
    assert rolled_sum("day", "model")[0] == UsageLog.objects.filter(created_at__lt=rollups.floor_day(now)).count()
