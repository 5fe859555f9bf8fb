"""The stored figures of the system, read-only. The dashboard shows them as charts."""

from __future__ import annotations

from django.contrib import admin

from aiagents.core.admin import columns
from aiagents.core.admin.read_only import ReadOnly
from aiagents.monitoring.models import SystemMetric


@admin.register(SystemMetric)
class SystemMetricAdmin(ReadOnly):
    list_display = [
        "at", "span", "cpu_percent", columns.number("requests"), columns.number("errors"), columns.number("calls"),
        columns.number("failed_calls", "failed"), columns.number("queued"), columns.number("running_turns", "turns"),
        columns.number("open_sockets", "sockets"), columns.money("held_usd", "held"), columns.number("database_connections", "connections"),
    ]  # fmt: skip
    list_filter = ["span", "at"]
    sortable_by = ["at"]
    ordering = ["-at"]
    export_also = tuple(
        field.name for field in SystemMetric._meta.concrete_fields
        if field.name not in ("id", "at", "span", "requests", "errors", "calls", "failed_calls", "queued", "cpu_percent")
    )  # fmt: skip
