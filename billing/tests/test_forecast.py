"""The forecast's arithmetic."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from billing.reports.forecast import MOST_DAYS, forecast

NOW = datetime(2026, 11, 21, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)


def days(*values):
    return [D(value) for value in values]


def test_too_few_days_say_nothing():
    assert forecast(days(1, 1), D(2), NOW, END, D(9)) is None
    assert forecast([], D(0), NOW, END, None) is None


def test_even_days_go_on_evenly_and_stray_nowhere():
    found = forecast(days(2, 2, 2, 2), D(40), NOW, END, None)
    assert (found.expected_usd, found.low_usd, found.high_usd, found.per_day_usd) == (60, 60, 60, 2)
    assert (found.days_observed, found.exhausted_at) == (4, None)


def test_uneven_days_widen_the_range_and_it_never_falls_below_what_is_spent():
    found = forecast(days(0, 10, 0, 2), D(1), NOW, END, None)
    assert found.low_usd == 1
    assert found.expected_usd == 31
    assert found.high_usd > 61


def test_more_days_of_the_same_kind_narrow_the_range():
    few, many = (forecast(days(*([1, 3] * n)), D(0), NOW, END, None) for n in (2, 12))
    assert many.high_usd - many.low_usd < few.high_usd - few.low_usd


def test_only_the_last_days_count():
    found = forecast(days(*([100] * 50 + [1] * MOST_DAYS)), D(0), NOW, END, None)
    assert (found.per_day_usd, found.days_observed) == (1, MOST_DAYS)


@pytest.mark.parametrize(
    ("spent", "limit", "expected"),
    [
        (40, None, None),
        (40, 50, NOW + timedelta(days=5)),
        (40, 41, NOW + timedelta(hours=12)),
        (40, 60, None),  # just reaches the end
        (40, 39, NOW),
        (40, 40, NOW),
    ],
)
def test_when_the_budget_is_used_up(spent, limit, expected):
    found = forecast(days(2, 2, 2), D(spent), NOW, END, None if limit is None else D(limit))
    assert found.exhausted_at == expected


def test_without_spending_a_budget_lasts():
    assert forecast(days(0, 0, 0), D(1), NOW, END, D(5)).exhausted_at is None


def test_after_the_months_end_nothing_more_comes():
    found = forecast(days(2, 2, 2), D(40), END + timedelta(hours=1), END, None)
    assert (found.low_usd, found.expected_usd, found.high_usd) == (40, 40, 40)


def test_the_range_holds_in_about_four_of_five_months():
    """Seeded: 600 months whose days are drawn alike."""
    chance, inside = random.Random(3), 0
    for _ in range(600):
        drawn = [D(repr(round(chance.gammavariate(2, 1.5), 6))) for _ in range(24)]
        found = forecast(drawn[:14], sum(drawn[:14]), NOW, END, None)
        inside += found.low_usd <= sum(drawn) <= found.high_usd
    assert 0.74 < inside / 600 < 0.86
