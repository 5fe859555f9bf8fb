"""Reports for staff: equal to the usage log wherever the rollups stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiagents.core.errors import InvalidRequest
from aiagents.core.ids import uuid7
from billing.budgets import budgets
from billing.models import Budget, BudgetWindow, RollupState, UsageLog, UsageRollup
from billing.reports import costs, reading, rollups, timing
from billing.reports import staff as analytics
from billing.reports.rollups import DAY, HOUR
from billing.tests.making import make_user
from billing.tests.rollup_rows import NOON, USERS, Clock, log
from tests.kit import catalogue as installed_catalogue
from tests.kit.sampling import examples

pytestmark = pytest.mark.django_db
DAY_START = NOON.replace(hour=0, minute=0)


@pytest.fixture
def clock(monkeypatch):
    found = Clock(NOON)
    monkeypatch.setattr(budgets, "database_now", found)
    return found


@pytest.fixture
def catalogue(db):
    installed_catalogue.load()


class TestPieces:
    def test_days_then_hours_then_the_log(self):
        known = NOON.replace(minute=0)
        found = reading.pieces(NOON - 3 * DAY, NOON, known, NOON - 90 * DAY)
        assert [(one.source, one.start, one.end) for one in found] == [
            ("log", NOON - 3 * DAY, known - 3 * DAY + HOUR),
            ("hour", known - 3 * DAY + HOUR, DAY_START - 2 * DAY),
            ("day", DAY_START - 2 * DAY, DAY_START),
            ("hour", DAY_START, known),
            ("log", known, NOON),
        ]

    def test_without_rollups_it_is_all_the_log(self):
        assert [one.source for one in reading.pieces(NOON - 9 * DAY, NOON, None, NOON - 90 * DAY)] == ["log"]

    def test_hours_that_are_not_kept_are_read_from_the_log(self):
        found = reading.pieces(NOON - 200 * DAY, NOON - 100 * DAY, NOON, NOON - 90 * DAY)
        assert [one.source for one in found] == ["log", "day", "log"]

    @given(st.integers(0, 9000), st.integers(0, 9000), st.integers(0, 9000), st.booleans())
    def test_they_follow_each_other_without_gap(self, start, length, known, hourly):
        from_, to = NOON - timedelta(minutes=start), NOON - timedelta(minutes=start - length)
        found = reading.pieces(
            from_, to, rollups.floor_hour(NOON - timedelta(minutes=known)), rollups.floor_day(NOON - 3 * DAY), hourly=hourly
        )
        if from_ >= to:
            assert found == []
            return
        assert (found[0].start, found[-1].end) == (from_, to)
        assert all(one.end == following.start and one.start < one.end for one, following in pairwise(found))
        assert not (hourly and any(one.source == "day" for one in found))


LOGGED = st.lists(
    st.tuples(st.integers(0, 5 * 24 * 60), st.integers(1, 10**9), st.integers(0, 2), st.sampled_from(["ok", "failed"])), max_size=12
)


@pytest.mark.soak
@settings(max_examples=examples(8, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOGGED, st.integers(0, 6 * 24 * 60), st.integers(1, 6 * 24 * 60), st.booleans(), st.sampled_from(["hour", "day", "week", "month"]))
def test_any_range_equals_the_log(clock, rows, start, length, caught_up, bucket):
    for model in (RollupState, UsageRollup):
        model.objects.all().delete()
    UsageLog._base_manager.all()._raw_delete("default")
    for ago, pico, who, status in rows:
        log(NOON - timedelta(minutes=ago), cost_usd=D(pico).scaleb(-12), user_id=USERS[who], status=status)
    if caught_up:
        rollups.catch_up()
    from_ = NOON - timedelta(minutes=start)
    to = from_ + timedelta(minutes=length)
    inside = [row for row in UsageLog.objects.all() if from_ <= row.created_at < to]
    for group_by in ("none", "user", "status", "key"):
        found = analytics.usage(from_, to, group_by, bucket)
        cost = sum((row.cost_usd for row in inside), D(0))
        assert (found["totals"]["calls"], D(found["totals"]["cost_usd"])) == (len(inside), cost)
        assert sum(D(point["cost_usd"]) for point in found["points"]) == cost
        assert sum(point["failed_calls"] for point in found["points"]) == sum(row.status != "ok" for row in inside)
        if group_by != "none":
            assert sum(D(group["cost_usd"]) for group in found["groups"]) == cost
            assert sum(D(value) for line in found["series"] for value in line["cost_usd"]) == cost
    people = analytics.user_activity(from_, to)
    assert people["users"]["active"] == len({row.user_id for row in inside})
    assert {line["key"]: line["active_days"] for line in people["people"]} == {
        str(user): len({row.created_at.date() for row in inside if row.user_id == user}) for user in {row.user_id for row in inside}
    }
    performance = analytics.model_performance(from_, to)
    assert sum(line["calls"] for line in performance["models"]) == len(inside)
    assert sum(error["calls"] for line in performance["models"] for error in line["errors"]) == sum(row.status != "ok" for row in inside)


def test_groups_are_named_for_people(clock):
    user = make_user()
    log(NOON - HOUR, user_id=user.pk)
    log(NOON - HOUR, api_key_id=None, simulated=True)
    [mine] = [line for line in analytics.usage(NOON - DAY, NOON, "user")["groups"] if line["key"] == str(user.pk)]
    assert mine["label"] == user.email
    [keyless] = analytics.usage(NOON - DAY, NOON, "key")["groups"]
    assert (keyless["key"], keyless["label"], keyless["calls"], keyless["simulated_calls"]) == (None, "without key", 2, 1)


def test_more_groups_than_lines_become_others(clock):
    for number in range(analytics.SERIES + 3):
        log(NOON - HOUR, model=f"m{number:02}", cost_usd=D(number + 1))
    found = analytics.usage(NOON - DAY, NOON, "model", "day")
    assert len(found["groups"]) == analytics.SERIES + 3
    assert found["series"][-1]["label"] == "3 others"
    assert sum(D(value) for value in found["series"][-1]["cost_usd"]) == 1 + 2 + 3


@pytest.mark.parametrize(
    ("days", "group_by", "bucket", "param"),
    [(-1, "none", "day", "to"), (1, "shoe", "day", "group_by"), (1, "none", "minute", "bucket"), (2000, "none", "day", "bucket")],
)
def test_what_makes_no_sense_is_refused(clock, days, group_by, bucket, param):
    with pytest.raises(InvalidRequest) as refused:
        analytics.usage(NOON - days * DAY, NOON, group_by, bucket)
    assert refused.value.param == param


def test_hours_that_are_gone_are_refused(clock):
    with pytest.raises(InvalidRequest):
        analytics.usage(NOON - 100 * DAY, NOON - 99 * DAY, "none", "hour")
    assert analytics.usage(NOON - 100 * DAY, NOON - 99 * DAY)["bucket"] == "day"


def test_percentiles_come_from_the_buckets(clock):
    for ms in [100] * 90 + [1000] * 9 + [50_000]:
        log(NOON - 30 * HOUR, latency_ms=ms, ttft_ms=80, output_tokens=50)
    rollups.catch_up()
    [model] = analytics.model_performance(NOON - 3 * DAY, NOON)["models"]
    assert 50 <= model["latency"]["p50_ms"] <= 100
    assert 750 <= model["latency"]["p95_ms"] <= 1000
    assert 750 <= model["latency"]["p99_ms"] <= 1000
    assert model["success_share"] == 1
    # 20 ms of writing 90 times, 920 ms nine times, 49,920 ms once; 50 tokens each.
    assert model["tokens_per_second"] == round(100 * 50 / (0.02 * 90 + 0.92 * 9 + 49.92), 1)


def test_percentiles_of_nothing_and_of_the_endless():
    assert timing.percentile([0] * 27, 0.5) is None
    assert timing.percentile([0] * 26 + [4], 0.5) == timing.BOUNDS[-1]


def test_the_overview_without_usage(clock):
    found = analytics.overview(NOON)
    assert found["last_30_days"]["calls"] == 0
    assert found["change"]["cost_usd"] is None
    assert len(found["days"]) == 30
    assert found["system_budget"]["forecast"] is None


def test_the_overview_counts_days_people_and_what_is_near_its_limit(clock):
    user = make_user(D("1"))
    for days, cost in ((0, "0.5"), (1, "0.25"), (10, "0.125"), (40, "1")):
        log(NOON - days * DAY - timedelta(minutes=1), cost_usd=D(cost), user_id=user.pk)
    BudgetWindow.objects.filter(budget__scope_id=user.pk).delete()
    window = budgets.open_window(Budget.objects.get(scope_id=user.pk), NOON)
    BudgetWindow.objects.filter(pk=window.pk).update(spent_usd=D("0.9"))
    rollups.catch_up()
    found = analytics.overview(NOON)
    assert D(found["today"]["cost_usd"]) == D("0.5")
    assert D(found["yesterday"]["cost_usd"]) == D("0.25")
    assert D(found["month"]["cost_usd"]) == D("0.75")
    assert D(found["last_30_days"]["cost_usd"]) == D("0.875")
    assert D(found["previous_30_days"]["cost_usd"]) == 1
    assert found["change"]["cost_usd"] == -0.125
    assert found["users"]["active_24_hours"] == found["users"]["active_30_days"] == 1
    assert found["top_users"][0]["label"] == user.email
    [near] = found["budgets_near_limit"]
    assert (near["label"], near["used_percent"]) == (user.email, 90)
    assert found["rolled_until"] == "2026-03-05T12:00:00Z"


class TestCosts:
    def spent(self, model: str, calls: int, days: int = 10, **values):
        for number in range(calls):
            log(
                NOON - timedelta(days=days * number / calls, minutes=1), model=model, provider="openai", input_tokens=10_000,
                output_tokens=1000, cost_usd=D("0.05"), **values,
            )  # fmt: skip

    def test_a_cheaper_model_of_like_quality_is_named_with_its_price_for_the_same_tokens(self, clock, catalogue):
        self.spent("gpt-4o", 60)
        found = analytics.cost_optimization(NOON - 20 * DAY, NOON)
        [line] = found["models"]
        other = line["alternative"]
        assert other["quality"] >= line["quality"] - 3
        assert D(other["cost_usd"]) + D(other["saving_usd"]) == D(line["cost_usd"]) == 3
        assert D(found["possible_saving_usd"]) == D(other["saving_usd"])
        # Ten days were seen, so a month has three times as much.
        assert D(other["saving_per_month_usd"]) == pytest.approx(D(other["saving_usd"]) * 3, rel=D("0.05"))
        assert "cheaper_model" in [one["kind"] for one in found["suggestions"]]

    def test_few_calls_or_days_give_no_suggestions(self, clock, catalogue):
        self.spent("gpt-4o", costs.FEWEST_CALLS - 1)
        found = analytics.cost_optimization(NOON - 20 * DAY, NOON)
        assert (found["models"][0]["alternative"], found["suggestions"]) == (None, [])

    def test_a_month_is_not_made_of_a_day(self, clock, catalogue):
        self.spent("gpt-4o", 60, days=1)
        found = analytics.cost_optimization(NOON - 20 * DAY, NOON)
        assert found["models"][0]["alternative"]["saving_per_month_usd"] is None
        assert found["possible_saving_per_month_usd"] is None

    def test_failures_and_unknown_models_are_suggestions(self, clock, catalogue):
        self.spent("unknown-model", 30)
        self.spent("unknown-model", 30, status="failed")
        kinds = {one["kind"]: one for one in analytics.cost_optimization(NOON - 20 * DAY, NOON)["suggestions"]}
        assert kinds.keys() == {"price_unknown", "many_failed_calls"}
        assert kinds["many_failed_calls"]["evidence"]["failed_calls"] == 30

    def test_a_key_that_spends_without_a_limit_is_named_until_it_has_one(self, clock, catalogue):
        from accounts import keys

        key, _ = keys.create(make_user(), name="robot", scopes=["chat"])
        self.spent("gpt-4o-mini", 60, api_key_id=key.pk)
        [found] = [one for one in analytics.cost_optimization(NOON - 20 * DAY, NOON)["suggestions"] if one["kind"] == "key_without_budget"]
        assert (found["evidence"]["key_id"], found["saving_per_month_usd"]) == (str(key.pk), None)
        budgets.set_limit("key", key.pk, D(5))
        assert "key_without_budget" not in [one["kind"] for one in analytics.cost_optimization(NOON - 20 * DAY, NOON)["suggestions"]]


def test_buckets_of_months_and_weeks():
    start = datetime(2026, 1, 15, 5, tzinfo=UTC)
    assert [at.month for at in reading.starts(start, datetime(2026, 4, 1, tzinfo=UTC), "month")] == [1, 2, 3]
    assert reading.starts(start, start + HOUR, "week") == [datetime(2026, 1, 12, tzinfo=UTC)]


def test_unknown_ids_are_shown_as_ids(clock):
    unknown = uuid7()
    log(NOON - HOUR, user_id=unknown)
    assert analytics.usage(NOON - DAY, NOON, "user")["groups"][0]["label"] == str(unknown)
