"""Serializer fields of a task's schedule, variables and parameters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aiagents.core.drf.base import StrictFieldsMixin
from tasks import schedule, variables
from tasks.models import Task
from tasks.runs import as_json as run_json
from tasks.schedule import BadSchedule, Kind, Plan

_SCHEDULE = {
    "type": "object",
    "required": ["type"],
    "description": (
        "`manual`: only by `run`. `now`: once, at once. `at`: once at `at`. `interval`: every `every_seconds`, first at `at` or one "
        "interval from now. `cron`: by the five fields of `cron` in `time_zone`.\n\n"
        "A cron time inside the hour that clocks skip runs at the first moment after it; one that exists twice runs the first time. "
        "With a star in minute or hour it follows real time. Missed while nothing ran: caught up on once, if at most an hour late."
    ),
    "properties": {
        "type": {"type": "string", "enum": Kind.values},
        "at": {"type": ["string", "null"], "description": "RFC 3339; without an offset, local time in `time_zone`"},
        "every_seconds": {"type": ["integer", "null"], "minimum": 60},
        "cron": {"type": "string", "examples": ["30 9 * * 1-5"]},
        "time_zone": {"type": "string", "description": "IANA; left out: yours", "examples": ["Europe/Berlin"]},
    },
    "examples": [{"type": "cron", "cron": "30 9 * * 1-5", "time_zone": "Europe/Berlin"}],
}
# The other members that each type accepts.
_TAKES = {
    Kind.MANUAL: set(),
    Kind.NOW: set(),
    Kind.AT: {"at"},
    Kind.INTERVAL: {"every_seconds", "at"},
    Kind.CRON: {"cron"},
}
_NEEDS = {Kind.AT: "at", Kind.INTERVAL: "every_seconds", Kind.CRON: "cron"}
_LONGEST_INTERVAL = 366 * 86400


@extend_schema_field(_SCHEDULE)
class ScheduleField(serializers.Field):
    """A `Plan`."""

    def to_internal_value(self, data: Any) -> Plan:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object with a type.")
        kind = data.get("type")
        if kind not in Kind.values:
            raise serializers.ValidationError({"type": [f"Must be one of {', '.join(Kind.values)}."]})
        given = {name for name, value in data.items() if value not in (None, "")} - {"type", "time_zone"}
        unknown = set(data) - {"type", "time_zone", "at", "every_seconds", "cron"}
        if wrong := unknown | (given - _TAKES[Kind(kind)]):
            raise serializers.ValidationError({name: [f"A schedule of type {kind} has no such member."] for name in sorted(wrong)})
        if (needed := _NEEDS.get(Kind(kind))) and needed not in given:
            raise serializers.ValidationError({needed: [f"A schedule of type {kind} needs it."]})
        try:
            return self._plan(Kind(kind), data)
        except BadSchedule as exc:
            raise serializers.ValidationError({exc.field: [str(exc)]}) from exc

    def _plan(self, kind: Kind, data: dict[str, Any]) -> Plan:
        for name in ("time_zone", "at", "cron"):
            if not isinstance(data.get(name), str | None):
                raise BadSchedule(name, "A text.")
        zone = schedule.check_zone(data.get("time_zone") or self.context["request"].user.time_zone)
        at = schedule.read_moment(data["at"], zone) if data.get("at") else None
        now = timezone.now()
        if at is not None and not now - timedelta(minutes=1) < at < now + schedule.FAR:
            raise BadSchedule("at", "Must be a time in the future, at most ten years ahead.")
        every = data.get("every_seconds")
        if every is not None and (type(every) is not int or not settings.TASK_MIN_INTERVAL_SECONDS <= every <= _LONGEST_INTERVAL):
            raise BadSchedule("every_seconds", f"Must be a whole number from {settings.TASK_MIN_INTERVAL_SECONDS} to {_LONGEST_INTERVAL}.")
        cron = schedule.check_cron(data["cron"]) if data.get("cron") else ""
        plan = Plan(kind, at, every, cron, zone)
        if kind == Kind.CRON and schedule.first(plan, now) is None:
            raise BadSchedule("cron", "This line has no time within the next ten years.")
        return plan

    def get_attribute(self, instance: Task) -> Task:
        return instance

    def to_representation(self, value: Task) -> dict[str, Any]:
        return {
            "type": value.schedule,
            "at": run_json.time(value.run_at),
            "every_seconds": value.every_seconds,
            "cron": value.cron,
            "time_zone": value.time_zone,
        }


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        "description": "Fill `{name}` in the input. `{date}`, `{time}`, `{now}` and `{weekday}` are given, in the schedule's time zone.",
        "examples": [{"topic": "quarterly figures"}],
    }
)
class VariablesField(serializers.Field):
    """Names and plain values."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict) or len(data) > 50:
            raise serializers.ValidationError("Must be an object with at most 50 members.")
        for name, value in data.items():
            if not variables.NAME.fullmatch(name):
                raise serializers.ValidationError({name[:64]: ["A name may contain only letters, digits and underscores."]})
            if not isinstance(value, str | int | float | bool | None) or (isinstance(value, str) and len(value) > 50_000):
                raise serializers.ValidationError({name: ["Must be a text of at most 50000 characters, a number, true, false or null."]})
        return dict(data)

    def to_representation(self, value: Any) -> dict[str, Any]:
        return value


class ParametersSerializer(StrictFieldsMixin, serializers.Serializer):
    """The parameters of a prompt's model calls."""

    temperature = serializers.FloatField(min_value=0, max_value=2, required=False)
    top_p = serializers.FloatField(min_value=0, max_value=1, required=False)
    max_output_tokens = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False)
    reasoning_effort = serializers.ChoiceField(["none", "minimal", "low", "medium", "high", "xhigh", "max"], required=False)
    stop = serializers.ListField(child=serializers.CharField(max_length=100, trim_whitespace=False), max_length=4, required=False)
