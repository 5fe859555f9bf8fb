"""Filters of the list of tasks."""

from __future__ import annotations

from django_filters import rest_framework as filters

from aiagents.core.drf.base import StrictFilterSet
from tasks.models import Status, Task, TaskQuerySet


class TaskFilter(StrictFilterSet):
    status = filters.ChoiceFilter(choices=Status.choices, method="with_status")
    kind = filters.ChoiceFilter(choices=Task.Kind.choices)
    schedule = filters.ChoiceFilter(choices=Task.Schedule.choices)
    agent_id = filters.UUIDFilter(field_name="agent_id")

    class Meta:
        model = Task
        fields = ["status", "kind", "schedule", "agent_id"]

    def with_status(self, queryset: TaskQuerySet, name: str, value: str) -> TaskQuerySet:
        return queryset.with_status(value)
