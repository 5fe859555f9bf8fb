"""Filters of the admin's lists."""

from __future__ import annotations

import django_filters
from django.db.models import QuerySet

from accounts.audit import storable_ip
from accounts.models import AuditEvent, User
from aiagents.core.drf.base import StrictFilterSet


class UserFilter(StrictFilterSet):
    role = django_filters.ChoiceFilter(choices=User.Role.choices)
    is_active = django_filters.BooleanFilter()
    is_staff = django_filters.BooleanFilter()
    created_at = django_filters.IsoDateTimeFromToRangeFilter()
    last_login = django_filters.IsoDateTimeFromToRangeFilter()

    class Meta:
        model = User
        fields: list[str] = []


class AuditFilter(StrictFilterSet):
    """Filters of the audit log. `from` is included, `to` is not."""

    action = django_filters.CharFilter(max_length=64)
    actor = django_filters.UUIDFilter(field_name="actor_id")
    target_type = django_filters.CharFilter(max_length=64)
    target_id = django_filters.CharFilter(max_length=64)
    request_id = django_filters.CharFilter(max_length=64)
    ip = django_filters.CharFilter(method="from_address", max_length=45)

    class Meta:
        model = AuditEvent
        fields: list[str] = []

    def from_address(self, queryset: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        address = storable_ip(value)
        return queryset.filter(ip=address) if address else queryset.none()


# `from` is a keyword, so it cannot be a name in the class body.
AuditFilter.base_filters["from"] = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte")
AuditFilter.base_filters["to"] = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt")
