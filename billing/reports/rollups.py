"""Rollups of usage: UsageRollup equals, to the last digit, the usage log grouped by hour and by day.

A call's row is written when the call ends, with the time of its admission. Rows therefore arrive for hours that were
already summed. The statement that writes the row also closes the hold, so the holds closed since the last check name
those hours. An hour is never corrected but computed again: every step may be repeated, also by two workers at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Min, Q
from django.db.models.functions import TruncDay, TruncHour

from billing.budgets import budgets
from billing.models import Hold, RollupState, UsageLog, UsageRollup
from billing.reports import sums

logger = logging.getLogger(__name__)
Kind, Slice = UsageRollup.Kind, UsageRollup.Slice
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SIZE = {Kind.HOUR: HOUR, Kind.DAY: DAY}
TRUNC: dict[Any, Any] = {Kind.HOUR: TruncHour, Kind.DAY: TruncDay}
# The columns that each slice groups by, beside `simulated`.
BY: dict[str, tuple[str, ...]] = {
    Slice.MODEL: ("model", "provider"),
    Slice.WORK: ("purpose", "surface", "status", "error_code"),
    Slice.USER: ("user_id",),
    Slice.KEY: ("api_key_id",),
    Slice.AGENT: ("agent_id",),
    Slice.ENDING: ("model", "provider", "status", "error_code"),
}
_DIMENSIONS = ("user_id", "api_key_id", "agent_id", "model", "provider", "purpose", "surface", "status", "error_code")
_EMPTY = {name: "NULL" if name.endswith("_id") else "''" for name in _DIMENSIONS}
ENDED_WELL = Q(status=UsageLog.Status.OK)
# A statement that began this long before the last check may still have been running then.
MARGIN = timedelta(minutes=10)
# The most that one transaction sums up, so that none is long: a week, or this many rows.
STEP, STEP_ROWS = timedelta(days=7), 200_000
# The sums that verification compares; the same statement computes the others.
CHECKED = ("calls", "failed_calls", *sums.TOKENS, *sums.MONEY)


@dataclass(frozen=True, slots=True)
class Difference:
    """A bucket that differs from the sum of its rows."""

    kind: str
    slice: str
    starts_at: datetime
    what: str

    def __str__(self) -> str:
        return f"{self.slice} per {self.kind} {self.starts_at:%Y-%m-%d %H:%M}: {self.what}"


def catch_up() -> int:
    """Sum up the hours that ended and those with late rows; return how many.

    Returns 0 while another process does it.
    """
    done = 0
    while True:
        with transaction.atomic():
            state = _claim(wait=False)
            if state is None:
                return done
            count, finished = _step(state)
            done += count
        if finished:
            return done


def rebuild(from_: datetime, to: datetime) -> int:
    """Compute every day that overlaps [from_, to) again, and its hours as far as they are kept.

    Return how many days.
    """
    if state_now().rolled_until is None:
        catch_up()
    start, last = floor_day(from_), ceil_day(to)
    days = 0
    while start < last:
        with transaction.atomic():
            state = _claim(wait=True)
            if state is None or state.rolled_until is None or start >= state.rolled_until:
                break
            end = _step_end(start, last)
            _write_hours(start, min(end, state.rolled_until))
            _write(Kind.DAY, start, min(end, floor_day(state.rolled_until)))
        days += (end - start).days
        start = end
    return days


def prune() -> int:
    """Delete the hours past their retention and return how many rows; the days stay."""
    return UsageRollup.objects.filter(kind=Kind.HOUR, starts_at__lt=hours_since(budgets.database_now())).delete()[0]


def differences() -> Iterator[Difference]:
    """Yield the buckets, of each kind and slice, that differ from the usage log.

    Hours not yet rolled up are left out.
    """
    state = state_now()
    if state.rolled_until is None or state.checked_at is None:
        return
    pending = _late_hours(state.checked_at - timedelta(seconds=5))
    now = budgets.database_now()
    ranges = {Kind.HOUR: (hours_since(now), state.rolled_until), Kind.DAY: (None, floor_day(state.rolled_until))}
    for kind, (start, end) in ranges.items():
        skipped = {hour if kind == Kind.HOUR else floor_day(hour) for hour in pending}
        within = Q(created_at__lt=end) if start is None else Q(created_at__gte=start, created_at__lt=end)
        bucket = TRUNC[kind]("created_at", tzinfo=UTC)
        log: Any = UsageLog.objects.filter(within).order_by().annotate(bucket=bucket).values("bucket").annotate(**sums.over_log(CHECKED))
        wanted = {row.pop("bucket"): row for row in log}
        for slice_ in BY:
            rows: Any = UsageRollup.objects.filter(kind=kind, slice=slice_, starts_at__lt=end).order_by().values("starts_at")
            rows = rows if start is None else rows.filter(starts_at__gte=start)
            found = {row.pop("starts_at"): row for row in rows.annotate(**sums.over_rollups(CHECKED))}
            for at in sorted((wanted.keys() | found.keys()) - skipped):
                if wrong := _first_difference(wanted.get(at), found.get(at)):
                    yield Difference(kind, slice_, at, wrong)


def state_now() -> RollupState:
    """Return up to when usage was rolled up."""
    return RollupState.objects.filter(pk=1).first() or RollupState()


def hours_since(now: datetime) -> datetime:
    """Return the start of the first hour that is kept."""
    return floor_day(now) - timedelta(days=settings.ROLLUP_HOURS_KEPT_DAYS)


def floor_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def floor_day(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def ceil_hour(at: datetime) -> datetime:
    floor = floor_hour(at)
    return floor if floor == at else floor + HOUR


def ceil_day(at: datetime) -> datetime:
    floor = floor_day(at)
    return floor if floor == at else floor + DAY


def _claim(*, wait: bool) -> RollupState | None:
    """Return the state's row, locked until the transaction ends.

    None without `wait` when another process has locked it.
    """
    if not RollupState.objects.filter(pk=1).exists():
        RollupState.objects.bulk_create([RollupState()], ignore_conflicts=True)
    return RollupState.objects.select_for_update(skip_locked=not wait).filter(pk=1).first()


def _step(state: RollupState) -> tuple[int, bool]:
    """Sum up one step of new hours, and late hours after the last step; return the count and whether that was all."""
    now = budgets.database_now()
    target = floor_hour(now)
    if state.rolled_until is None:
        first = UsageLog.objects.aggregate(first=Min("created_at"))["first"]
        state.rolled_until = min(target, floor_day(first)) if first else target
    before = state.rolled_until
    after = max(before, _step_end(before, target))  # never earlier, even if the clock was set back
    count = _write_hours(before, after)
    _write(Kind.DAY, floor_day(before), floor_day(after))
    finished = after >= target
    if finished:
        # The clock may have been set back: then check from its time.
        since = min(state.checked_at or now, now) - MARGIN
        count += sum(_recompute(hour, after) for hour in sorted(_late_hours(since) | {floor_hour(since)}) if hour < before)
        state.checked_at = now
    state.rolled_until = after
    state.save()
    return count, finished


def _step_end(start: datetime, end: datetime) -> datetime:
    rows = UsageLog.objects.filter(created_at__gte=start, created_at__lt=end).order_by("created_at")
    return min(end, start + STEP) if rows[STEP_ROWS : STEP_ROWS + 1].exists() else end


def _late_hours(since: datetime) -> set[datetime]:
    """Return the hours of admission of the calls that ended since then."""
    hours = Hold.objects.filter(~Q(status=Hold.Status.OPEN), closed_at__gte=since).annotate(hour=TruncHour("created_at", tzinfo=UTC))
    # A call without a hold has the time of its charge.
    logged = UsageLog.objects.filter(created_at__gte=since).annotate(hour=TruncHour("created_at", tzinfo=UTC))
    return {hour for rows in (hours, logged) for hour in rows.order_by().values_list("hour", flat=True).distinct()}


def _recompute(hour: datetime, rolled_until: datetime) -> int:
    """Compute the hour and its day again if their number of rows changed (rows are never updated); return how many."""
    day = floor_day(hour)
    found = 0
    if hour >= hours_since(budgets.database_now()) and _count(hour, HOUR) != _rolled(Kind.HOUR, hour):
        found = _write_hours(hour, hour + HOUR)
    if day + DAY <= rolled_until and _count(day, DAY) != _rolled(Kind.DAY, day):
        _write(Kind.DAY, day, day + DAY)
        found = 1
    return found


def _count(start: datetime, size: timedelta) -> int:
    return UsageLog.objects.filter(created_at__gte=start, created_at__lt=start + size).count()


def _rolled(kind: str, at: datetime) -> int:
    return sum(UsageRollup.objects.filter(kind=kind, slice=Slice.MODEL, starts_at=at).values_list("calls", flat=True))


def _write_hours(start: datetime, end: datetime) -> int:
    start = max(start, hours_since(budgets.database_now()))
    _write(Kind.HOUR, start, end)
    return max(0, int((end - start) / HOUR))


def _write(kind: UsageRollup.Kind, start: datetime, end: datetime) -> None:
    """Compute every slice of the buckets in [start, end) again."""
    if start >= end:
        return
    for slice_, by in BY.items():
        UsageRollup.objects.filter(kind=kind, slice=slice_, starts_at__gte=start, starts_at__lt=end).delete()
        names = (*sums.ALL, *sums.BUCKETS) if slice_ == Slice.MODEL else sums.ALL
        rows = UsageLog.objects.filter(created_at__gte=start, created_at__lt=end).order_by()
        rows = rows.annotate(bucket=TRUNC[kind]("created_at", tzinfo=UTC)).values("bucket", *by, "simulated")
        inner, values = rows.annotate(**sums.over_log(names)).query.sql_with_params()
        columns = {"kind": f"'{kind.value}'", "slice": f"'{slice_}'", "starts_at": "bucket", **_EMPTY}
        columns |= {name: name for name in (*by, "simulated")}
        columns |= {name: "'[]'" for name in sums.BUCKETS} | {name: sums.PREFIX + name for name in names}
        with connection.cursor() as cursor:
            into, what = ", ".join(columns), ", ".join(columns.values())
            cursor.execute(f"INSERT INTO {UsageRollup._meta.db_table} ({into}) SELECT {what} FROM ({inner}) AS added", values)


def _first_difference(wanted: dict[str, Any] | None, found: dict[str, Any] | None) -> str:
    for name in CHECKED:
        expected, seen = ((row or {}).get(sums.PREFIX + name, 0) for row in (wanted, found))
        if Decimal(expected) != Decimal(seen):
            return f"{name} {seen}, the usage log has {expected}"
    return ""
