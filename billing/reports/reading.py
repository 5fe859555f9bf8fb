"""Sums over any time range, read from the coarsest rows: whole days, then whole hours, then the usage log itself.

Hours that the rollups contain are read from them. Later hours come from the usage log: the current one, and more of
them when beat is not running.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncDay, TruncHour, TruncMonth, TruncWeek

from billing.budgets import budgets
from billing.models import UsageLog, UsageRollup
from billing.reports import rollups, sums
from billing.reports.rollups import HOUR, ceil_day, ceil_hour, floor_day, floor_hour

TRUNC: dict[str, Any] = {"hour": TruncHour, "day": TruncDay, "week": TruncWeek, "month": TruncMonth}
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the time range, and the source of its sums: "day", "hour" or "log"."""

    source: str
    start: datetime
    end: datetime


def pieces(from_: datetime, to: datetime, rolled_until: datetime | None, hours_since: datetime, *, hourly: bool = False) -> list[Piece]:
    """Split [from_, to) into consecutive pieces. With `hourly` no piece is coarser than hours."""
    if from_ >= to:
        return []
    known = min(to, rolled_until) if rolled_until else from_
    first, last = ceil_day(from_), floor_day(known)
    if hourly or first >= last:
        return list(_hours(from_, to, known, hours_since))
    return [*_hours(from_, first, known, hours_since), Piece("day", first, last), *_hours(last, to, known, hours_since)]


def read(
    from_: datetime,
    to: datetime,
    slice_: str,
    by: Iterable[str] = (),
    *,
    names: Iterable[str] = sums.USUAL,
    bucket: str | None = None,
    only: Q | None = None,
) -> dict[Key, dict[str, Any]]:
    """Return totals by (start of the bucket, if `bucket` is given, and the columns `by`).

    `calls` of a total includes its `simulated_calls`.
    """
    columns, names = tuple(by), tuple(names)
    wanted = tuple(dict.fromkeys((*names, "calls")))
    grouped = ("bucket", *columns) if bucket else columns
    found: dict[Key, dict[str, Any]] = {}
    for piece in pieces_now(from_, to, hourly=bucket == "hour"):
        for row in _rows(piece, slice_, columns, wanted, bucket, only or Q()):
            total = found.setdefault(tuple(row[name] for name in grouped), sums.zero(wanted) | {"simulated_calls": 0})
            sums.add(total, row, wanted)
            if row["simulated"]:
                total["simulated_calls"] += row[sums.PREFIX + "calls"]
    return found


def presence(from_: datetime, to: datetime, slice_: str, column: str) -> tuple[dict[datetime, int], dict[Any, int]]:
    """Return how many values of the column have rows on each day, and on how many days each value has rows."""
    on_day: dict[datetime, int] = {}
    days: dict[Any, int] = {}
    parts: set[tuple[datetime, Any]] = set()
    for piece in pieces_now(from_, to):
        at, rows = _within(piece, slice_)
        if piece.source != "day":  # pieces at both ends may share a day; they have few rows
            parts |= set(rows.annotate(bucket=TruncDay(at, tzinfo=UTC)).order_by().values_list("bucket", column).distinct())
            continue
        on_day |= dict(rows.order_by().values_list(at).annotate(count=Count(column, distinct=True)))
        days |= dict(rows.order_by().values_list(column).annotate(count=Count(at, distinct=True)))
    for day, value in parts:
        on_day[day] = on_day.get(day, 0) + 1
        days[value] = days.get(value, 0) + 1
    return on_day, days


def pieces_now(from_: datetime, to: datetime, *, hourly: bool = False) -> list[Piece]:
    """Split [from_, to) by the current state of the rollups."""
    now = budgets.database_now()
    return pieces(from_, to, rollups.state_now().rolled_until, rollups.hours_since(now), hourly=hourly)


def starts(from_: datetime, to: datetime, bucket: str) -> list[datetime]:
    """Return the starts of all buckets that overlap [from_, to)."""
    at, found = floor(from_, bucket), []
    while at < to:
        found.append(at)
        at = floor(at + timedelta(days=32), bucket) if bucket == "month" else at + SIZES[bucket]
    return found


SIZES = {"hour": HOUR, "day": timedelta(days=1), "week": timedelta(days=7)}


def floor(at: datetime, bucket: str) -> datetime:
    """Return the start of the bucket in UTC; weeks start on Monday."""
    if bucket == "hour":
        return floor_hour(at)
    day = floor_day(at)
    return day.replace(day=1) if bucket == "month" else day - timedelta(days=day.weekday()) if bucket == "week" else day


def _hours(start: datetime, end: datetime, known: datetime, since: datetime) -> Iterator[Piece]:
    first, last = ceil_hour(max(start, since)), floor_hour(min(end, known))
    if start >= end:
        return
    if first >= last:
        yield Piece("log", start, end)
        return
    if start < first:
        yield Piece("log", start, first)
    yield Piece("hour", first, last)
    if last < end:
        yield Piece("log", last, end)


def _within(piece: Piece, slice_: str) -> tuple[str, QuerySet[Any]]:
    """Return the column of time and the rows of a piece."""
    if piece.source == "log":
        return "created_at", UsageLog.objects.filter(created_at__gte=piece.start, created_at__lt=piece.end)
    return "starts_at", UsageRollup.objects.filter(kind=piece.source, slice=slice_, starts_at__gte=piece.start, starts_at__lt=piece.end)


def _rows(piece: Piece, slice_: str, by: Key, names: Key, bucket: str | None, only: Q) -> Iterable[dict[str, Any]]:
    at, rows = _within(piece, slice_)
    added = sums.over_log(names) if piece.source == "log" else sums.over_rollups(names)
    rows = rows.filter(only).order_by()
    if bucket:
        rows = rows.annotate(bucket=TRUNC[bucket](at, tzinfo=UTC))
        by = ("bucket", *by)
    return rows.values(*by, "simulated").annotate(**added)
