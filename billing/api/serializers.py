"""Read-only serializers of `/api/v1/billing/`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aiagents.core.jsonio import money
from billing.catalogue.snapshot import CAPABILITIES, Catalogue, ModelCard
from billing.models import AIModel, UsageLog
from billing.pricing import Rates


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["0.00042150"]})
class Money(serializers.Field):
    """USD as a decimal string."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: Decimal) -> str:
        return money(value)


class PriceSerializer(serializers.Serializer):
    """USD per million tokens. Above `tier_threshold` input tokens the tier's rates apply to the whole call."""

    input = Money()
    cached_input = Money(allow_null=True)
    cache_write = Money(allow_null=True)
    cache_write_1h = Money(allow_null=True)
    output = Money()
    tier_threshold = serializers.IntegerField(allow_null=True)
    tier_input = Money(allow_null=True)
    tier_cached_input = Money(allow_null=True)
    tier_cache_write = Money(allow_null=True)
    tier_cache_write_1h = Money(allow_null=True)
    tier_output = Money(allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]  # a field of this name is a field


class ModelSerializer(serializers.ModelSerializer):
    """A model of the catalogue. `price` null, `price_known` false: it has no price and is charged at a ceiling."""

    id = serializers.CharField(source="slug")
    capabilities = serializers.SerializerMethodField()
    usable = serializers.SerializerMethodField()
    price = serializers.SerializerMethodField()
    price_known = serializers.SerializerMethodField()

    class Meta:
        model = AIModel
        fields = [
            "id", "display_name", "provider", "description", "context_window", "max_output_tokens", "capabilities", "dimensions", "quality",
            "tokens_per_second", "ttft_ms", "lifecycle", "replaced_by", "usable", "price", "price_known",
        ]  # fmt: skip
        read_only_fields = fields

    def _card(self, model: AIModel) -> ModelCard | None:
        catalogue: Catalogue = self.context["catalogue"]
        return catalogue.cards.get(model.slug)

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(CAPABILITIES)))
    def get_capabilities(self, model: AIModel) -> list[str]:
        return [name for name in CAPABILITIES if getattr(model, name)]

    def get_usable(self, model: AIModel) -> bool:
        return model.enabled and model.lifecycle != AIModel.Lifecycle.RETIRED

    @extend_schema_field(PriceSerializer(allow_null=True))
    def get_price(self, model: AIModel) -> dict[str, Any] | None:
        card = self._card(model)
        rates: Rates | None = card.rates if card else None
        return None if rates is None else PriceSerializer(rates).data

    def get_price_known(self, model: AIModel) -> bool:
        card = self._card(model)
        return card is not None and card.rates is not None


# A JSON field that may be null would be described as two schemas that both fit null.
@extend_schema_field({"type": ["object", "null"], "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}}})
class AlsoUsed(serializers.JSONField):
    """What a call used beside text tokens, by name."""


class UsageSerializer(serializers.ModelSerializer):
    """One vendor call as it was charged."""

    cost_usd = Money()
    baseline_cost_usd = Money(allow_null=True)
    cache_saved_usd = Money(allow_null=True)
    also_used = AlsoUsed(
        allow_null=True, help_text="what has a price of its own: `media` (parts of the tokens) and `units` (tool calls), by name"
    )
    overrun_usd = Money()

    class Meta:
        model = UsageLog
        fields = [
            "id", "call_id", "group_id", "created_at", "status", "model", "provider", "requested_model", "goal", "purpose", "surface",
            "attempt", "input_tokens", "cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens",
            "reasoning_tokens", "cost_usd",
            "baseline_cost_usd", "cache_saved_usd",
            "overrun_usd", "price", "also_used", "estimated", "flagged", "simulated", "finish_reason", "error_code",
            "latency_ms", "ttft_ms", "vendor_asked", "api_key_id", "agent_id", "task_id", "conversation_id", "message_id", "request_id",
        ]  # fmt: skip
        read_only_fields = fields


class GroupSerializer(serializers.Serializer):
    """A line of summed usage. Of the first five fields it contains only those that the request grouped by."""

    hour = serializers.DateTimeField(required=False)
    day = serializers.DateField(required=False)
    model = serializers.CharField(required=False)
    agent_id = serializers.UUIDField(required=False, allow_null=True)
    api_key_id = serializers.UUIDField(required=False, allow_null=True)
    label: Any = serializers.CharField(required=False, help_text="the display name of the model, agent or key")
    calls = serializers.IntegerField()
    failed_calls = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    cost_usd = Money()
    saved_usd = Money(help_text="what the baseline model would have cost more; negative where it was cheaper")
    cache_saved_usd = Money(help_text="what the tokens would have cost more without the vendors' prompt caches")


class ForecastSerializer(serializers.Serializer):
    """Forecast to the month's end from the last whole days. The range should contain four of five actual amounts."""

    expected_usd = Money()
    low_usd = Money()
    high_usd = Money()
    per_day_usd = Money()
    days_observed = serializers.IntegerField()
    exhausted_at = serializers.DateTimeField(allow_null=True, help_text="when the budget is used up at this rate; null: not this month")


class SummarySerializer(serializers.Serializer):
    """The month to date. `forecast` null: fewer than three whole days of history."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    time_zone = serializers.CharField()
    spent_usd = Money()
    held_usd = Money(help_text="reserved for running calls")
    limit_usd = Money(allow_null=True)
    left_usd = Money(allow_null=True)
    calls = serializers.IntegerField()
    failed_calls = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    saved_usd = Money(help_text="what the baseline model would have cost more; negative where it was cheaper")
    cache_saved_usd = Money(help_text="what the tokens would have cost more without the vendors' prompt caches")
    baseline_model = serializers.CharField()
    forecast = ForecastSerializer(allow_null=True)
