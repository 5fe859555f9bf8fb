"""Rollups of the usage log, and budget alerts."""

from __future__ import annotations

from django.contrib import admin

from aiagents.core.admin import columns, filters
from aiagents.core.admin.read_only import ReadOnly
from billing.models import AIModel, AlertSettings, BudgetAlert, RollupState, UsageRollup


@admin.register(UsageRollup)
class UsageRollupAdmin(ReadOnly):
    """Sums by hour and day. `manage.py rollups` can compute them again at any time."""

    list_display = [
        "starts_at", "kind", "slice", columns.text("model"), columns.text("provider"), columns.text("purpose"), columns.text("status"),
        columns.number("calls"), columns.number("failed_calls", "failed"), columns.number("input_tokens", "input"),
        columns.number("output_tokens", "output"), columns.money("cost_usd"), "simulated",
    ]  # fmt: skip
    list_filter = ["kind", "slice", filters.one_of("provider", AIModel.Provider.choices), "simulated", "starts_at"]
    sortable_by: tuple[str, ...] = ()
    search_ids = ("user_id", "api_key_id", "agent_id")
    search_exact = ("model",)
    search_people = ("user_id",)
    # The order of the index: with a kind and a slice chosen, newest first.
    ordering = ["-kind", "-slice", "-starts_at"]
    export_also = ("user_id", "api_key_id", "agent_id", "surface", "cached_input_tokens", "reasoning_tokens", "baseline_cost_usd")


@admin.register(RollupState)
class RollupStateAdmin(ReadOnly):
    list_display = ["id", "rolled_until", "checked_at"]


@admin.register(BudgetAlert)
class BudgetAlertAdmin(ReadOnly):
    """The alerts that budgets were nearly used up, and whether their e-mails were sent."""

    list_display = [
        "created_at", columns.link("user", show="user__email"), columns.text("subject"), "threshold", columns.money("spent_usd"),
        columns.money("limit_usd"), columns.state("mail"), "mail_attempts", "read_at", "mailed_at",
    ]  # fmt: skip
    list_filter = ["mail", "threshold", filters.empty("read_at", "read", "not read", "read"), "created_at"]
    search_contains = ("subject",)
    search_people = ("user",)
    list_select_related = ["user"]
    ordering = ["-created_at"]


@admin.register(AlertSettings)
class AlertSettingsAdmin(ReadOnly):
    """Each user's settings for alerts."""

    list_display = [columns.link("user", show="user__email"), "enabled", "by_email", "thresholds", "updated_at"]
    list_filter = ["enabled", "by_email"]
    search_people = ("user",)
    list_select_related = ["user"]
    ordering = ["-updated_at"]
