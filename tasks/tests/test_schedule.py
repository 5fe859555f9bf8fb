"""When a task runs next: by hand for the days on which clocks change, by hypothesis for all the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import schedule
from tasks.schedule import BadSchedule, Kind, Plan
from tests.kit.sampling import examples

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Santiago",
    "Africa/Cairo",
    "Pacific/Apia",
]
LINES = [
    "* * * * *",
    "*/15 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "0,30 1-3 * * *",
    "15 */2 * * *",
    "0 0 1 * *",
    "5 0 * * 1-5",
    "59 23 31 12 *",
]
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda found: found.replace(tzinfo=UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def times_of(line: str, zone: str, begin: str, count: int) -> list[str]:
    """The next moments of a cron line, as their owner's clock shows them."""
    plan, now, found = Plan(Kind.CRON, cron=line, time_zone=zone), at(begin), []
    for _ in range(count):
        now = schedule.following(plan, now, now)
        found.append(f"{now.astimezone(ZoneInfo(zone)):%m-%d %H:%M%z}")
    return found


# --- clocks that change --------------------------------------------------------------------------


def test_a_fixed_time_inside_the_skipped_hour_runs_right_after_it_and_once():
    assert times_of("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00+01:00", 2) == ["03-28 03:00+0200", "03-29 02:30+0200"]


def test_two_fixed_times_inside_the_skipped_hour_are_one_run():
    assert times_of("0,30 2 * * *", "Europe/Berlin", "2027-03-28T00:30:00+01:00", 2) == ["03-28 03:00+0200", "03-29 02:00+0200"]


def test_a_fixed_time_that_exists_twice_runs_the_first_time_only():
    assert times_of("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00:00+02:00", 2) == ["10-31 02:30+0200", "11-01 02:30+0100"]


def test_a_fixed_time_is_not_repeated_inside_the_repeated_hour():
    between = times_of("30 2 * * *", "Europe/Berlin", "2027-10-31T02:15:00+01:00", 1)
    assert between == ["11-01 02:30+0100"]


def test_a_star_follows_real_time_through_the_skipped_hour():
    found = times_of("*/30 * * * *", "Europe/Berlin", "2027-03-28T01:15:00+01:00", 3)
    assert found == [
        "03-28 01:30+0100",
        "03-28 03:00+0200",
        "03-28 03:30+0200",
    ]


def test_a_star_follows_real_time_through_the_doubled_hour():
    found = times_of("30 * * * *", "Europe/Berlin", "2027-10-31T01:45:00+02:00", 3)
    assert found == [
        "10-31 02:30+0200",
        "10-31 02:30+0100",
        "10-31 03:30+0100",
    ]


def test_a_zone_with_half_an_hour_of_summer_time():
    assert times_of("15 2 * * *", "Australia/Lord_Howe", "2027-10-02T12:00:00+10:30", 2) == ["10-03 02:30+1100", "10-04 02:15+1100"]


def test_a_local_time_in_the_gap_moves_forward_by_the_gap():
    assert schedule.read_moment("2027-03-28T02:30:00", "Europe/Berlin") == at("2027-03-28T03:30:00+02:00")


def test_a_local_time_that_exists_twice_is_the_first():
    assert schedule.read_moment("2027-10-31T02:30:00", "Europe/Berlin") == at("2027-10-31T02:30:00+02:00")


def test_an_offset_says_which_of_the_two_is_meant():
    assert schedule.read_moment("2027-10-31T02:30:00+01:00", "Europe/Berlin") == at("2027-10-31T01:30:00Z")


def test_intervals_are_real_seconds_whatever_clocks_do():
    plan, now = Plan(Kind.INTERVAL, every_seconds=86400, time_zone="Europe/Berlin"), at("2027-03-27T12:00:00+01:00")
    following = schedule.following(plan, now, now)
    assert following - now == timedelta(days=1)
    assert following.astimezone(ZoneInfo("Europe/Berlin")).hour == 13


# --- everything else ------------------------------------------------------------------------------


@given(st.sampled_from(LINES), st.sampled_from(ZONES), moments)
@pytest.mark.soak
@settings(max_examples=examples(100, 1500), deadline=None)
def test_cron_goes_forward_and_names_only_times_of_its_line(line: str, zone: str, now: datetime):
    plan = Plan(Kind.CRON, cron=line, time_zone=zone)
    found = [now]
    for _ in range(4):
        following = schedule.following(plan, found[-1], found[-1])
        assert following is not None and following.second == following.microsecond == 0
        found.append(following)
    assert all(earlier < later for earlier, later in pairwise(found))
    for moment in found[1:]:
        local = moment.astimezone(ZoneInfo(zone))
        minute, hour = line.split()[:2]
        if minute == "*/15":
            assert local.minute % 15 == 0
        after_gap = (moment - timedelta(minutes=1)).astimezone(ZoneInfo(zone)).utcoffset() != local.utcoffset()
        if minute.isdecimal() and hour.isdecimal():
            assert (local.hour, local.minute) == (int(hour), int(minute)) or after_gap


@given(st.sampled_from(LINES), st.sampled_from(ZONES), moments, st.floats(0, 1))
@pytest.mark.soak
@settings(max_examples=examples(80, 1000), deadline=None)
def test_cron_skips_nothing_whenever_it_is_asked(line: str, zone: str, now: datetime, part: float):
    plan = Plan(Kind.CRON, cron=line, time_zone=zone)
    following = schedule.first(plan, now)
    between = now + (following - now) * part
    if between < following:
        assert schedule.first(plan, between) == following


@given(moments, st.integers(60, 10**7), st.integers(0, 10**8))
def test_an_interval_keeps_its_beat_and_leaves_out_what_went_by(anchor: datetime, every: int, gone: int):
    plan, now = Plan(Kind.INTERVAL, every_seconds=every), anchor + timedelta(seconds=gone)
    following = schedule.following(plan, anchor, now)
    assert now < following <= now + timedelta(seconds=every)
    assert (following - anchor) % timedelta(seconds=every) == timedelta(0)


@given(moments, moments, st.integers(60, 10**7))
def test_an_interval_with_a_first_moment_begins_there_or_on_its_beat(first: datetime, now: datetime, every: int):
    following = schedule.first(Plan(Kind.INTERVAL, first, every), now)
    assert following > now
    assert following == first if first > now else (following - first) % timedelta(seconds=every) == timedelta(0)


def test_what_runs_once_has_no_following():
    now = at("2027-01-01T00:00:00Z")
    for plan in (Plan(Kind.AT, now), Plan(Kind.NOW), Plan(Kind.MANUAL)):
        assert schedule.following(plan, now, now) is None
    assert schedule.first(Plan(Kind.MANUAL), now) is None


@pytest.mark.parametrize("line", ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "a b c d e", "0 0 31 2 *", "@daily"])
def test_lines_that_are_no_cron_lines_are_refused(line: str):
    with pytest.raises(BadSchedule):
        schedule.check_cron(line)


@pytest.mark.parametrize("line", ["0 9 * * MON-FRI", "0 0 L * *", "  5   4 * * * ", "0 0 * * 1#2"])
def test_lines_of_the_usual_dialect_are_taken(line: str):
    assert schedule.check_cron(line) == " ".join(line.split())


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "europe/berlin", "UTC\0"])
def test_only_zones_of_the_database_are_zones(name: str):
    with pytest.raises(BadSchedule):
        schedule.check_zone(name)
