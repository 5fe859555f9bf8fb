"""Where the month is going, from the user's own days. Pure.

The next days are taken to be like the last ones: their mean, times the days that are left. The range says how far
such a sum strays: the spread of the days, and that the mean itself is only known from a few of them. It is meant to
hold in four of five months; weekdays and growth are not modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

# With fewer whole days than this there is no honest forecast.
FEWEST_DAYS = 3
# No more than this many: what was a season ago says little.
MOST_DAYS = 28
# Standard deviations on each side that hold four of five sums.
_EIGHTY_PERCENT = Decimal("1.2816")
_PLACES = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Forecast:
    """Spend at the month's end, and when the budget is used up at this pace (None: not this month)."""

    expected_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    per_day_usd: Decimal
    days_observed: int
    exhausted_at: datetime | None


def forecast(days: Sequence[Decimal], spent: Decimal, now: datetime, ends_at: datetime, limit: Decimal | None) -> Forecast | None:
    """From whole days' sums, newest last, and what is spent so far. None with too few days to say anything."""
    observed = days[-MOST_DAYS:]
    count = len(observed)
    if count < FEWEST_DAYS:
        return None
    mean = sum(observed, Decimal(0)) / count
    variance = sum(((day - mean) ** 2 for day in observed), Decimal(0)) / (count - 1)
    left = Decimal(max(0, int((ends_at - now).total_seconds()))) / 86400
    coming = mean * left
    # `left` days of the same spread, and the error of the mean, which is the same on every one of them.
    strays = _EIGHTY_PERCENT * (variance * left + variance * left * left / count).sqrt()
    return Forecast(
        expected_usd=_rounded(spent + coming),
        low_usd=_rounded(max(spent, spent + coming - strays)),
        high_usd=_rounded(spent + coming + strays),
        per_day_usd=_rounded(mean),
        days_observed=count,
        exhausted_at=_exhausted(spent, mean, now, ends_at, limit),
    )


def _exhausted(spent: Decimal, mean: Decimal, now: datetime, ends_at: datetime, limit: Decimal | None) -> datetime | None:
    if limit is None:
        return None
    if spent >= limit:
        return now
    if not mean:
        return None
    days = (limit - spent) / mean
    if days * 86400 >= Decimal((ends_at - now).total_seconds()):
        return None
    return now + timedelta(seconds=int(days * 86400))


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(_PLACES)
