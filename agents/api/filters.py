"""Filters of the list of agents."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from agents.models import Agent
from aiagents.core.drf.base import StrictFilterSet


class AgentFilter(StrictFilterSet):
    # Not a BooleanFilter, which ignores values other than true and false.
    mine = filters.TypedChoiceFilter(
        choices=[("true", "true"), ("false", "false")],
        coerce=lambda value: value == "true",
        method="by_owner",
        label="true: only one's own; false: only those that others share",
    )
    visibility = filters.ChoiceFilter(choices=Agent.Visibility.choices)
    slug = filters.CharFilter()
    model = filters.CharFilter(field_name="version__model")

    class Meta:
        model = Agent
        fields = ["mine", "visibility", "slug", "model"]

    def by_owner(self, queryset: QuerySet[Agent], name: str, value: bool) -> QuerySet[Agent]:
        own = Q(user=self.request.user.pk)
        return queryset.filter(own if value else ~own)
