"""The time range of a dashboard, from the page's query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypedDict
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils import timezone

PRESETS = {"24h": ("24 hours", 1), "7d": ("7 days", 7), "30d": ("30 days", 30), "90d": ("90 days", 90), "365d": ("a year", 365)}
MOST_DAYS = 3 * 366


class Preset(TypedDict):
    """A range to choose."""

    name: str
    title: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Range:
    """[from_, to). `name` is the preset's, or empty for chosen days; `problem` is an error message about the query."""

    from_: datetime
    to: datetime
    name: str = ""
    problem: str = ""

    @property
    def days(self) -> float:
        return (self.to - self.from_).total_seconds() / 86400

    @property
    def first_day(self) -> str:
        return self.from_.date().isoformat()

    @property
    def last_day(self) -> str:
        return (self.to - timedelta(microseconds=1)).date().isoformat()

    @property
    def query(self) -> str:
        return urlencode({"range": self.name} if self.name else {"from": self.first_day, "to": self.last_day})

    def presets(self) -> list[Preset]:
        return [{"name": name, "title": title, "chosen": name == self.name} for name, (title, _) in PRESETS.items()]


def read(query: QueryDict, default: str = "30d") -> Range:
    """The range of `?range=`, else of `?from=&to=` (days, UTC, both included). An invalid query gives the default with a `problem`."""
    name, first, last = query.get("range", ""), query.get("from", ""), query.get("to", "")
    if name or (not first and not last):
        return preset(name or default) if (name or default) in PRESETS else preset(default, "There is no such range.")
    try:
        from_, to = date.fromisoformat(first[:10]), date.fromisoformat(last[:10]) if last else timezone.now().astimezone(UTC).date()
        end = _midnight(to + timedelta(days=1))
    except (ValueError, OverflowError):
        return preset(default, "A day must be written like 2026-03-31.")
    if to < from_ or (to - from_).days > MOST_DAYS:
        return preset(default, "The first day must come before the last one, by at most three years.")
    return Range(_midnight(from_), end)


def preset(name: str, problem: str = "") -> Range:
    """A preset range: 24 hours up to this minute, or whole days including today."""
    now = timezone.now()
    days = PRESETS[name][1]
    if days == 1:
        end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        return Range(end - timedelta(days=1), end, name, problem)
    tomorrow = _midnight(now.astimezone(UTC).date() + timedelta(days=1))
    return Range(tomorrow - timedelta(days=days), tomorrow, name, problem)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
