"""Serializer fields of a task's schedule, variables and parameters."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from pydantic import ConfigDict, Field
from rest_framework import serializers

from aiagents.core.drf import request_models
from aiagents.core.drf.base import StrictFieldsMixin
from aiagents.core.errors import InvalidRequest
from aiagents.core.validation import RequestModel, Whole, parse
from tasks import schedule, variables
from tasks.models import Task
from tasks.runs import as_json as run_json
from tasks.schedule import BadSchedule, Kind, Plan

_Seconds = Annotated[int, Field(ge=settings.TASK_MIN_INTERVAL_SECONDS, le=366 * 86400), Whole]
if TYPE_CHECKING:
    _Kind = str
else:
    _Kind = Literal[tuple(Kind.values)]
# The other members that each type accepts.
_TAKES = {
    Kind.MANUAL: set(),
    Kind.NOW: set(),
    Kind.AT: {"at"},
    Kind.INTERVAL: {"every_seconds", "at"},
    Kind.CRON: {"cron"},
}
_NEEDS = {Kind.AT: "at", Kind.INTERVAL: "every_seconds", Kind.CRON: "cron"}


class TaskSchedule(RequestModel):
    """When a task runs. null and an empty text are as if the field were absent.

    `manual`: only by `run`. `now`: once, at once. `at`: once at `at`. `interval`: every `every_seconds`, first at `at` or one
    interval from now. `cron`: by the five fields of `cron` in `time_zone`.

    A cron time inside the hour that clocks skip runs at the first moment after it; one that exists twice runs the first time.
    With a star in minute or hour it follows real time. Missed while nothing ran: caught up on once, if at most an hour late.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "cron", "cron": "30 9 * * 1-5", "time_zone": "Europe/Berlin"}]},
    )
    type: _Kind
    at: str | None = Field(None, description="RFC 3339; without an offset, local time in `time_zone`")
    every_seconds: _Seconds | None = None
    cron: str | None = Field(None, examples=["30 9 * * 1-5"])
    time_zone: str | None = Field(None, description="IANA; left out: yours", examples=["Europe/Berlin"])


@extend_schema_field(request_models.reference(TaskSchedule))
class ScheduleField(serializers.Field):
    """A `Plan`."""

    def to_internal_value(self, data: Any) -> Plan:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object with a type.")
        try:
            wanted = parse(TaskSchedule, data)
        except InvalidRequest as exc:
            raise serializers.ValidationError(exc.details) from exc
        kind = Kind(wanted.type)
        given = {name for name in ("at", "every_seconds", "cron") if getattr(wanted, name) not in (None, "")}
        if wrong := given - _TAKES[kind]:
            raise serializers.ValidationError({name: [f"A schedule of type {kind} has no such member."] for name in sorted(wrong)})
        if (needed := _NEEDS.get(kind)) and needed not in given:
            raise serializers.ValidationError({needed: [f"A schedule of type {kind} needs it."]})
        try:
            return self._plan(kind, wanted)
        except BadSchedule as exc:
            raise serializers.ValidationError({exc.field: [str(exc)]}) from exc

    def _plan(self, kind: Kind, wanted: TaskSchedule) -> Plan:
        zone = schedule.check_zone(wanted.time_zone or self.context["request"].user.time_zone)
        at = schedule.read_moment(wanted.at, zone) if wanted.at else None
        now = timezone.now()
        if at is not None and not now - timedelta(minutes=1) < at < now + schedule.FAR:
            raise BadSchedule("at", "Must be a time in the future, at most ten years ahead.")
        cron = schedule.check_cron(wanted.cron) if wanted.cron else ""
        plan = Plan(kind, at, wanted.every_seconds, cron, zone)
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
