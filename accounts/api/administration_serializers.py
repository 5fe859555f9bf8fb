"""Serializers of `/api/v1/admin/users` and `audit-log`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from accounts.models import AuditEvent, User
from aiagents.core.drf.base import StrictFieldsMixin
from aiagents.core.jsonio import money


class ManagedUserSerializer(StrictFieldsMixin, serializers.ModelSerializer):
    """A user as admins see it. Only role, state and budget can be written."""

    monthly_budget_usd = serializers.DecimalField(
        max_digits=24, decimal_places=12, min_value=0, allow_null=True, required=False, source="month_limit", help_text="null: no limit"
    )
    spent_usd = serializers.CharField(read_only=True, help_text="this month, USD")
    held_usd = serializers.CharField(read_only=True, help_text="by running calls, USD")

    class Meta:
        model = User
        fields = [
            "id", "email", "name", "role", "is_active", "is_staff", "is_superuser", "monthly_budget_usd", "spent_usd", "held_usd",
            "last_login", "created_at",
        ]  # fmt: skip
        read_only_fields = [name for name in fields if name not in {"role", "is_active", "monthly_budget_usd"}]
        extra_kwargs = {"role": {"required": False}, "is_active": {"required": False}}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        found = super().to_internal_value(data)
        if "month_limit" in found:
            found["monthly_budget_usd"] = found.pop("month_limit")
        return found

    def to_representation(self, user: User) -> dict[str, Any]:
        row: Any = user
        month = {
            "spent_usd": Decimal(0) if row.month_spent is None else row.month_spent,
            "held_usd": Decimal(0) if row.month_held is None else row.month_held,
        }
        row.spent_usd, row.held_usd = (money(value) for value in month.values())
        limit = None if row.month_limit is None else money(row.month_limit)
        return super().to_representation(user) | {"monthly_budget_usd": limit}


class ActorSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ["id", "email"]
        read_only_fields = fields


class AuditEventSerializer(serializers.ModelSerializer):
    """One event. `actor` null: no user was signed in, or the account was deleted."""

    actor = ActorSerializer(read_only=True, allow_null=True)
    details = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEvent
        fields = ["id", "at", "actor", "action", "target_type", "target_id", "ip", "request_id", "details"]
        read_only_fields = fields
