"""When a task runs next. Pure functions from a plan and a time to a time.

Daylight saving time, in the plan's time zone:
- `at` without an offset: a local time that does not exist moves forward by the length of the gap. One that exists twice
  means the first.
- `interval`: counts real seconds from its first time, whatever the clocks show.
- `cron` with a fixed hour and minute (`30 2 * * *`): a time inside the gap runs once, at the first moment after it. A
  time that exists twice runs the first time only. With a star in minute or hour (`*/15 * * * *`) it follows real time:
  a time that does not exist is skipped, and one that exists twice runs twice. These are the rules of Debian's cron.

Missed times (beat did not run): one catch-up run for all missed slots, if the first of them is at most
`settings.TASK_CATCH_UP_SECONDS` old; else none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from aiagents.core.time_zones import time_zones
from tasks.models import Task

Kind = Task.Schedule
# The furthest time that a schedule may have.
FAR = timedelta(days=3660)


class BadSchedule(ValueError):
    """A schedule is invalid. The message is for the client; `field` is the wrong field."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule.

    `at` is the time of the kind `at`, and the first time of an `interval` (None: one interval from now).
    """

    kind: str
    at: datetime | None = None
    every_seconds: int | None = None
    cron: str = ""
    time_zone: str = "UTC"

    @classmethod
    def of(cls, task: Task) -> Plan:
        return cls(task.schedule, task.run_at, task.every_seconds, task.cron, task.time_zone)


def first(plan: Plan, now: datetime) -> datetime | None:
    """Return when a task that is saved or resumed now runs first; None: only by hand."""
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
    """Return the next future slot after `slot`, without those that have passed; None if there is none."""
    match plan.kind:
        case Kind.INTERVAL:
            assert plan.every_seconds
            return _step(slot, plan.every_seconds, max(now, slot))
        case Kind.CRON:
            return _cron(plan, max(now, slot))
    return None


def _step(anchor: datetime, every: int, now: datetime) -> datetime:
    """Return the first time after `now` a whole number of intervals from `anchor`.

    The anchor if it is in the future.
    """
    if anchor > now:
        return anchor
    gone = (now - anchor) // timedelta(seconds=every)
    return anchor + timedelta(seconds=every) * (gone + 1)


def _cron(plan: Plan, now: datetime) -> datetime | None:
    zone = ZoneInfo(plan.time_zone)
    # UTC has no daylight saving time and needs no special handling.
    slots = CronSim(plan.cron, now.astimezone(UTC if plan.time_zone == "UTC" else zone))
    for found in slots:
        moment = found.astimezone(UTC)
        if moment > now + FAR:
            return None
        # The library steps in local time: in the second pass of a repeated hour it may return a time of the first.
        if moment > now:
            return moment
    return None


# --- parsing ------------------------------------------------------------------------------------


def check_zone(name: str) -> str:
    if name not in time_zones():
        raise BadSchedule("time_zone", "The time zone must be an IANA name, such as Europe/Berlin.")
    return name


def check_cron(line: str) -> str:
    """Return the line with single spaces. Raises BadSchedule unless it has five valid fields."""
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
    """Parse an RFC 3339 time, without an offset in `zone`; return it in UTC. Raises BadSchedule."""
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
