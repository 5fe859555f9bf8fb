"""Filters of billing's lists."""

from __future__ import annotations

import django_filters

from aiagents.core.drf.base import StrictFilterSet
from billing.catalogue.snapshot import CAPABILITIES
from billing.models import AIModel, Budget, UsageLog


class ModelFilter(StrictFilterSet):
    min_context = django_filters.NumberFilter(field_name="context_window", lookup_expr="gte", min_value=0, max_value=2**31 - 1)
    min_quality = django_filters.NumberFilter(field_name="quality", lookup_expr="gte", min_value=0, max_value=100)

    class Meta:
        model = AIModel
        fields = ["provider", "lifecycle", *CAPABILITIES]


class UsageFilter(StrictFilterSet):
    """`from` and `to` are times or days in UTC; `from` is included, `to` is not."""

    also = frozenset({"group_by", "bucket"})
    status = django_filters.ChoiceFilter(choices=UsageLog.Status.choices)
    model = django_filters.CharFilter(max_length=100)
    purpose = django_filters.CharFilter(max_length=20)
    key = django_filters.UUIDFilter(field_name="api_key_id")
    agent = django_filters.UUIDFilter(field_name="agent_id")

    class Meta:
        model = UsageLog
        fields: list[str] = []


# `from` is a keyword, so it cannot be a name in the class body.
UsageFilter.base_filters["from"] = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
UsageFilter.base_filters["to"] = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")


class BudgetFilter(StrictFilterSet):
    scope_id = django_filters.UUIDFilter()

    class Meta:
        model = Budget
        fields = ["scope"]
