"""The rules of models that vendors stated by refusals, read-only."""

from __future__ import annotations

from django.contrib import admin

from agents.models import ModelRule
from aiagents.core.admin import columns
from aiagents.core.admin.read_only import ReadOnly


@admin.register(ModelRule)
class ModelRuleAdmin(ReadOnly):
    """What models refused. Where it repeats, correct the model's capabilities or its endpoint in the catalogue."""

    list_display = ["model", "rule", "message", columns.number("refusals"), columns.number("repeated"), "first_at", "last_at"]
    list_filter = ["rule", "last_at"]
    search_contains = ("model", "rule")
    ordering = ["-last_at"]
    fields = ["model", "rule", "message", ("refusals", "repeated"), ("first_at", "last_at")]
