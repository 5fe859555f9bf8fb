"""Serializers of alerts, budgets and recommendations."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers

from aiagents.core.drf.base import StrictFieldsMixin
from aiagents.core.drf.fields import BoundedListField
from aiagents.core.time_zones import time_zones
from billing.api.serializers import Money
from billing.budgets import near_limit
from billing.models import AlertSettings, Budget, BudgetAlert

_AMOUNT: dict[str, Any] = {"max_digits": 24, "decimal_places": 12, "min_value": 0, "allow_null": True}


class AlertSerializer(serializers.ModelSerializer):
    """A budget reached a threshold of its limit; there is one alert per threshold and month."""

    scope = serializers.ChoiceField(Budget.Scope.choices, source="window.budget.scope", read_only=True)
    scope_id = serializers.UUIDField(source="window.budget.scope_id", read_only=True, allow_null=True)
    month = serializers.DateTimeField(source="window.starts_at", read_only=True, help_text="its first instant")
    spent_usd = Money(help_text="as it was then")
    limit_usd = Money(help_text="as it was then")
    mailed = serializers.SerializerMethodField()

    class Meta:
        model = BudgetAlert
        fields = ["id", "scope", "scope_id", "subject", "threshold", "spent_usd", "limit_usd", "month", "created_at", "read_at", "mailed"]
        read_only_fields = fields

    def get_mailed(self, alert: BudgetAlert) -> bool:
        return alert.mail == BudgetAlert.Mail.SENT


class AlertSettingsSerializer(StrictFieldsMixin, serializers.ModelSerializer):
    """When to create alerts. `thresholds`: percent of a limit."""

    refusals: ClassVar[dict[str, str]] = {
        "thresholds": "one is repeated or out of range",
    }
    thresholds = BoundedListField(child=serializers.IntegerField(min_value=1, max_value=100), min_length=1, max_length=10)

    class Meta:
        model = AlertSettings
        fields = ["enabled", "by_email", "thresholds"]
        extra_kwargs = {"enabled": {"required": True}, "by_email": {"required": True}}

    def validate_thresholds(self, value: list[int]) -> list[int]:
        return sorted(set(value))


class AlertsSerializer(serializers.Serializer):
    """The settings, and the alerts of this and the last month, newest first, at most 100."""

    settings = AlertSettingsSerializer()
    unread = serializers.IntegerField()
    alerts = AlertSerializer(many=True)


class ReadSerializer(StrictFieldsMixin, serializers.Serializer):
    """The alerts to mark as read; without `ids`, all."""

    ids = BoundedListField(child=serializers.UUIDField(), max_length=100, required=False)


class MarkedSerializer(serializers.Serializer):
    read = serializers.IntegerField(help_text="alerts that had not been read")


class BudgetSerializer(serializers.Serializer):
    """A monthly limit with its current month. `limit_usd` null: no limit."""

    id = serializers.UUIDField(read_only=True)
    scope = serializers.ChoiceField(Budget.Scope.choices)
    scope_id = serializers.UUIDField(allow_null=True)
    label: Any = serializers.CharField(read_only=True, help_text="the display name of its subject")
    limit_usd = Money(allow_null=True)
    spent_usd = serializers.SerializerMethodField()
    held_usd = serializers.SerializerMethodField()
    left_usd = serializers.SerializerMethodField()
    used_percent = serializers.SerializerMethodField()
    time_zone = serializers.CharField(read_only=True)
    starts_at = serializers.DateTimeField(source="month.starts_at", read_only=True, allow_null=True, default=None)
    ends_at = serializers.DateTimeField(source="month.ends_at", read_only=True, allow_null=True, default=None)

    def get_spent_usd(self, budget: Any) -> str:
        return Money().to_representation(budget.month.spent_usd if budget.month else Decimal(0))

    def get_held_usd(self, budget: Any) -> str:
        return Money().to_representation(budget.month.held_usd if budget.month else Decimal(0))

    def get_left_usd(self, budget: Any) -> str | None:
        if budget.limit_usd is None:
            return None
        taken = budget.month.spent_usd + budget.month.held_usd if budget.month else Decimal(0)
        return Money().to_representation(max(Decimal(0), budget.limit_usd - taken))

    def get_used_percent(self, budget: Any) -> int | None:
        if not budget.limit_usd:
            return None
        return near_limit.percent_of(budget.month.spent_usd, budget.limit_usd) if budget.month else 0


class OwnBudgetInputSerializer(StrictFieldsMixin, serializers.Serializer):
    """A limit for a key, agent or task of the user."""

    refusals: ClassVar[dict[str, str]] = {
        "limit_usd": "it is more than can be kept",
    }
    scope = serializers.ChoiceField([Budget.Scope.KEY, Budget.Scope.AGENT, Budget.Scope.TASK])
    scope_id = serializers.UUIDField()
    limit_usd = serializers.DecimalField(**_AMOUNT, help_text="per month; null: no limit")


class BudgetInputSerializer(StrictFieldsMixin, serializers.Serializer):
    """A limit for any budget; the system's has no `scope_id`."""

    refusals: ClassVar[dict[str, str]] = {
        "scope_id": "it is missing, or it is given with the scope `system`",
        "limit_usd": "it is more than can be kept",
    }
    scope = serializers.ChoiceField(Budget.Scope.choices)
    scope_id = serializers.UUIDField(allow_null=True, required=False, default=None)
    limit_usd = serializers.DecimalField(**_AMOUNT, help_text="per month; null: no limit")
    time_zone = serializers.CharField(
        required=False, max_length=64, help_text=f"the zone in which its months start; {settings.BUDGET_TIME_ZONE} for a new budget"
    )

    def validate_time_zone(self, value: str) -> str:
        if value not in time_zones():
            raise serializers.ValidationError("There is no such time zone.")
        return value


class RecommendationSerializer(serializers.Serializer):
    """A recommendation from the user's calls. `evidence`: its figures.

    `saving_per_month_usd` null: it cannot be computed.
    """

    kind = serializers.ChoiceField(
        [
            "cheaper_model", "prompt_caching", "many_failed_calls", "answers_cut_off", "long_outputs", "much_reasoning",
            "deprecated_model", "key_without_budget",
        ]
    )  # fmt: skip
    title = serializers.CharField()
    text = serializers.CharField()
    evidence = serializers.DictField()
    saving_per_month_usd = Money(allow_null=True)


class RecommendationsSerializer(serializers.Serializer):
    """Recommendations from the last 30 days, largest saving first. `enough_data` false: too few calls or days."""

    from_ = serializers.DateTimeField(source="from_")  # bound as `from`
    to = serializers.DateTimeField()
    calls = serializers.IntegerField()
    cost_usd = Money()
    observed_days = serializers.FloatField()
    enough_data = serializers.BooleanField()
    results = RecommendationSerializer(many=True, source="recommendations")

    def get_fields(self) -> dict[str, Any]:
        return {("from" if name == "from_" else name): field for name, field in super().get_fields().items()}
