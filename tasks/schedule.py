"""When a task runs next. Pure: a plan and a moment in, a moment out.

Clocks that are put forward or back (DST), in the plan's time zone:
- `at` without an offset: a local time that does not exist is moved forward by the length of the gap; one that exists twice is the first.
- `interval`: counted in real seconds from its first moment; clocks do not matter.
- `cron` with a fixed hour and minute (`30 2 * * *`): a time inside the gap runs at the first moment after it, once; a time that
  exists twice runs the first time only. With a star in minute or hour (`*/15 * * * *`) it follows real time: what does not exist
  is left out, what exists twice runs twice. These are the rules of Debian's cron.

Missed (nothing ran beat): one catch-up run for all slots that went by, if the first of them is at most
`settings.TASK_CATCH_UP_SECONDS` old; else none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from tasks.models import Task

Kind = Task.Schedule
# Nothing is planned further ahead than this.
FAR = timedelta(days=3660)


class BadSchedule(ValueError):
    """What is wrong, as a sentence; `field` names where."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Plan:
    """`at` is the only moment of `at`, and the first of an `interval` (None: one interval from now)."""

    kind: str
    at: datetime | None = None
    every_seconds: int | None = None
    cron: str = ""
    time_zone: str = "UTC"

    @classmethod
    def of(cls, task: Task) -> Plan:
        return cls(task.schedule, task.run_at, task.every_seconds, task.cron, task.time_zone)


def first(plan: Plan, now: datetime) -> datetime | None:
    """When a task that is saved (or resumed) now runs first; None: never by itself."""
    match plan.kind:
        case Kind.NOW:
            return now
        case Kind.AT:
            return plan.at
        case Kind.INTERVAL:
            assert plan.every_seconds
            return _step(plan.at, plan.every_seconds, now) if plan.at else now + timedelta(seconds=plan.every_seconds)
        case Kind.CRON:
            return _cron(plan, now)
    return None


def following(plan: Plan, slot: datetime, now: datetime) -> datetime | None:
    """The slot after `slot` that still lies ahead; those that went by meanwhile are left out."""
    match plan.kind:
        case Kind.INTERVAL:
            assert plan.every_seconds
            return _step(slot, plan.every_seconds, max(now, slot))
        case Kind.CRON:
            return _cron(plan, max(now, slot))
    return None


def _step(anchor: datetime, every: int, now: datetime) -> datetime:
    """The first moment after `now` that is a whole number of intervals from `anchor`; the anchor itself, if it lies ahead."""
    if anchor > now:
        return anchor
    gone = (now - anchor) // timedelta(seconds=every)
    return anchor + timedelta(seconds=every) * (gone + 1)


def _cron(plan: Plan, now: datetime) -> datetime | None:
    zone = ZoneInfo(plan.time_zone)
    # Real UTC has no special handling and no need of it.
    walk = CronSim(plan.cron, now.astimezone(UTC if plan.time_zone == "UTC" else zone))
    for found in walk:
        moment = found.astimezone(UTC)
        if moment > now + FAR:
            return None
        # The library steps on local time: in the second pass of a doubled hour it may name a moment of the first.
        if moment > now:
            return moment
    return None


# --- reading what people write ------------------------------------------------------------------


def check_zone(name: str) -> str:
    if name not in available_timezones():
        raise BadSchedule("time_zone", "Name an IANA time zone, e.g. Europe/Berlin.")
    return name


def check_cron(line: str) -> str:
    """The line with single spaces: five fields, or BadSchedule."""
    fields = line.split()
    if len(fields) != 5:
        raise BadSchedule("cron", "A cron line has five fields: minute, hour, day of month, month, day of week.")
    tidy = " ".join(fields)
    try:
        next(CronSim(tidy, datetime(2024, 1, 1, tzinfo=UTC)), None)
    except CronSimError as exc:
        raise BadSchedule("cron", f"{exc}.") from exc
    return tidy


def read_moment(text: str, zone: str) -> datetime:
    """An RFC 3339 moment; without an offset, local time in `zone`. In UTC."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise BadSchedule("at", "Give a time such as 2027-01-31T09:00:00Z, or without Z for the schedule's time zone.") from exc
    if found.tzinfo is None:
        found = found.replace(tzinfo=ZoneInfo(zone), fold=0)
    try:
        return found.astimezone(UTC)
    except OverflowError as exc:
        raise BadSchedule("at", "This time is out of range.") from exc
