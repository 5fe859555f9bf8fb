"""Forecast of a month's spending from the user's past days. Pure functions.

The forecast is the mean of the last days times the remaining days. The range accounts for the variance of the days and
for the error of a mean of few days. The actual amount should lie within it in four of five months. The model knows
neither weekdays nor growth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

# The fewest whole days that a forecast needs.
FEWEST_DAYS = 3
# The most days that a forecast uses: older days predict little.
MOST_DAYS = 28
# The standard deviations on each side of the mean that contain 80 % of a normal distribution.
_EIGHTY_PERCENT = Decimal("1.2816")
_PLACES = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Forecast:
    """The spending at the month's end, and when the budget is used up at this rate (None: not this month)."""

    expected_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    per_day_usd: Decimal
    days_observed: int
    exhausted_at: datetime | None


def forecast(days: Sequence[Decimal], spent: Decimal, now: datetime, ends_at: datetime, limit: Decimal | None) -> Forecast | None:
    """Return the forecast from the sums of whole days (newest last) and the amount spent so far.

    None with too few days.
    """
    observed = days[-MOST_DAYS:]
    count = len(observed)
    if count < FEWEST_DAYS:
        return None
    mean = sum(observed, Decimal(0)) / count
    variance = sum(((day - mean) ** 2 for day in observed), Decimal(0)) / (count - 1)
    left = Decimal(max(0, int((ends_at - now).total_seconds()))) / 86400
    coming = mean * left
    # The variance of `left` days, and the error of the mean, which is the same on each of them.
    deviation = _EIGHTY_PERCENT * (variance * left + variance * left * left / count).sqrt()
    return Forecast(
        expected_usd=_rounded(spent + coming),
        low_usd=_rounded(max(spent, spent + coming - deviation)),
        high_usd=_rounded(spent + coming + deviation),
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
