"""Date and time: the current time in any zone, dates some days away, and the time between two dates."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from agents.tools.base import ToolContext, ToolError
from agents.tools.declaring import tool
from aiagents.core.time_zones import time_zones

_MOST_DAYS = 1_000_000


@tool()
async def current_time(
    context: ToolContext,
    time_zone: str = "",
    format: Literal["full", "iso", "date", "time", "unix"] = "full",
    at: str = "",
    plus_days: int = 0,
    until: str = "",
) -> str:
    """The current date and time, a date some days away from it, or how far it is from one date to another.

    time_zone: an IANA name such as Europe/Vienna; the user's own zone when empty
    format: full names the weekday and the zone; iso is RFC 3339; unix is seconds since 1970
    at: another moment than now, as 2026-03-01 or 2026-03-01T14:30; with an offset such as +01:00 or Z where it is of another zone
    plus_days: so many days later, or earlier when negative
    until: a second moment; the answer then says how far it is from the first to this one
    """
    zone = _zone(time_zone or context.time_zone or "UTC")
    moment = _read(at, zone) if at else datetime.now(zone)
    if abs(plus_days) > _MOST_DAYS:
        raise ToolError(f"plus_days is at most {_MOST_DAYS}.")
    try:
        # Keeps the time of day in that zone, also across changes of summer time.
        moment += timedelta(days=plus_days)
        shown = _shown(moment, zone, format)
        return f"{shown}\n{_span(moment, _read(until, zone), zone)}" if until else shown
    except OverflowError:
        raise ToolError("That date is outside the years 1 to 9999.") from None


def _zone(name: str) -> zoneinfo.ZoneInfo:
    # Checked against the list, so that the model's name is never used as a path.
    if name not in time_zones():
        raise ToolError(f"There is no time zone {name[:64]!r}; use an IANA name such as Europe/Vienna or America/New_York.")
    return zoneinfo.ZoneInfo(name)


def _read(text: str, zone: zoneinfo.ZoneInfo) -> datetime:
    try:
        found = datetime.combine(date.fromisoformat(text), time()) if len(text) <= 10 else datetime.fromisoformat(text[:40])
        return found.astimezone(zone) if found.tzinfo else found.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        raise ToolError(f"{text[:40]!r} is not a date; write 2026-03-01 or 2026-03-01T14:30:00+01:00.") from None


def _shown(moment: datetime, zone: zoneinfo.ZoneInfo, format: str) -> str:
    match format:
        case "iso":
            return moment.isoformat(timespec="seconds")
        case "date":
            return moment.date().isoformat()
        case "time":
            return moment.strftime("%H:%M:%S")
        case "unix":
            return str(int(moment.timestamp()))
    year, week, _ = moment.isocalendar()
    return f"{moment:%A}, {moment.isoformat(sep=' ', timespec='seconds')} ({zone.key}, {moment.tzname()}), week {week} of {year}"


def _span(start: datetime, end: datetime, zone: zoneinfo.ZoneInfo) -> str:
    """Return the time between two dates: calendar days, and the seconds that really pass, also across summer time."""
    seconds = int((end.astimezone(UTC) - start.astimezone(UTC)).total_seconds())
    days = (end.date() - start.date()).days
    left = abs(seconds)
    exact = f"{left // 86400} d {left % 86400 // 3600} h {left % 3600 // 60} min {left % 60} s"
    how = "the same moment as" if not seconds else f"{exact} after" if seconds > 0 else f"{exact} before"
    workdays = _workdays(start.date(), end.date())
    return (
        f"{_shown(end, zone, 'full')} is {how} that: {days} calendar days ({_weeks(days)}), "
        f"{workdays} working days (Monday to Friday), {seconds} seconds."
    )


def _weeks(days: int) -> str:
    weeks, rest = divmod(abs(days), 7)
    sign = "-" if days < 0 else ""
    return f"{sign}{weeks} weeks and {rest} days"


def _workdays(start: date, end: date) -> int:
    """Return the days from Monday to Friday, including the first day and excluding the last."""
    if end < start:
        return -_workdays(end, start)
    weeks, rest = divmod((end - start).days, 7)
    return weeks * 5 + sum((start.weekday() + offset) % 7 < 5 for offset in range(rest))
