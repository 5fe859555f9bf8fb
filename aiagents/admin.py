"""Admin pages outside the apps: stored responses of idempotent requests, and beat's schedules in the admin's theme."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks, SolarSchedule
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from aiagents.core.admin import columns, filters
from aiagents.core.admin.read_only import ReadOnly
from aiagents.core.admin.rows import Rows
from aiagents.core.models import IdempotentAnswer


@admin.register(IdempotentAnswer)
class IdempotentAnswerAdmin(ReadOnly):
    """Stored responses by time and status; their bodies may be content and are never shown."""

    list_display = ["created_at", "principal", columns.text("key"), "status", "content_type", "heartbeat_at"]
    list_filter = [
        filters.cases("state", "state", [("running", "still running", Q(status=0)), ("ok", "2xx", Q(status__range=(200, 299))),
                                         ("refused", "4xx and 5xx", Q(status__gte=400))]),
        "created_at",
    ]  # fmt: skip
    search_exact = ("principal", "key")
    search_people = ("principal",)
    ordering = ["-created_at"]
    fields = ["principal", "key", "fingerprint", "status", "content_type", columns.json("reference"), "created_at", "heartbeat_at"]
    readonly_fields = [fields[5]]

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotentAnswer]:
        return super().get_queryset(request).defer("body")


for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


class RegisteredTasks(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """Beat's list of known tasks, with the theme's widget."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = RegisteredTasks()


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, Rows):
    """The tasks that beat starts. Beat rewrites the product's own entries when it starts, but keeps whether they are enabled."""

    form = PeriodicTaskForm
    date_hierarchy = None
    change_form_template = "admin/change_form.html"
    list_display = ["name", "task", "enabled", "scheduler", columns.number("total_run_count", "runs"), "last_run_at", "queue"]
    list_filter = ["enabled", "one_off", "last_run_at"]
    search_fields = ["name", "task"]
    search_contains = ("name", "task")
    ordering = ["name"]
    readonly_fields = ["last_run_at", "crontab_translation"]
    actions = ["enable_tasks", "disable_tasks", "run_tasks"]

    def crontab_translation(self, obj: PeriodicTask) -> str:
        return obj.crontab.human_readable if obj.crontab else columns.EMPTY

    @admin.action(description="Enable", permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._record(request, queryset, "enable")
        super().enable_tasks(request, queryset)

    @admin.action(description="Disable", permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._record(request, queryset, "disable")
        super().disable_tasks(request, queryset)

    @admin.action(description="Run now", permissions=["change"])
    def run_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        self._record(request, queryset, "run")
        super().run_tasks(request, queryset)

    def _record(self, request: HttpRequest, tasks: QuerySet[PeriodicTask], what: str) -> None:
        for task in tasks:
            self.note(request, f"periodictask.{what}", task, {"name": task.name})

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        PeriodicTasks.changed(obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return Rows.changelist_view(self, request, extra_context)


class ScheduleAdmin(Rows):
    """Schedules that periodic tasks may use."""


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(ScheduleAdmin):
    list_display = ["__str__", "every", "period"]
    list_filter = ["period"]


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(ScheduleAdmin):
    list_display = ["__str__", "human_readable", "timezone"]
    fields = ["human_readable", "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"]
    readonly_fields = ["human_readable"]


@admin.register(SolarSchedule)
class SolarScheduleAdmin(ScheduleAdmin):
    list_display = ["__str__", "event", "latitude", "longitude"]


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(ScheduleAdmin):
    list_display = ["clocked_time"]
    fields = ["clocked_time"]
