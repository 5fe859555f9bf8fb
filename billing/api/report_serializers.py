"""Serializers that describe the reports of `/api/v1/admin/`, which billing/reports/staff.py computes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class Usd(serializers.CharField):
    """USD as a decimal string."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"read_only": True, **options})


class Share(serializers.FloatField):
    """A ratio (0.25 is a quarter); null: the whole is zero."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"read_only": True, "allow_null": True, **options})


class TotalsSerializer(serializers.Serializer):
    """Sums. `simulated_calls` of the calls were answered by the simulator."""

    calls = serializers.IntegerField()
    failed_calls = serializers.IntegerField(help_text="failed, cancelled or interrupted")
    simulated_calls = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    cost_usd = Usd()
    baseline_cost_usd = Usd(help_text="of the baseline model for the same tokens")
    compared_cost_usd = Usd(help_text="cost of the calls that have a baseline")
    saved_usd = Usd(help_text="cost of the baseline model minus the actual cost")


class PointSerializer(TotalsSerializer):
    at = serializers.DateTimeField(help_text="start of the bucket, UTC")


class GroupTotalsSerializer(TotalsSerializer):
    key = serializers.CharField(allow_null=True, help_text="null: the calls that have none")
    label: Any = serializers.CharField()


class SeriesSerializer(serializers.Serializer):
    """One line of a chart, a value per point. The last line may sum up all other groups, with an empty key."""

    key = serializers.CharField(allow_null=True)
    label: Any = serializers.CharField()
    cost_usd = serializers.ListField(child=Usd())
    calls = serializers.ListField(child=serializers.IntegerField())


class RangeSerializer(serializers.Serializer):
    from_ = serializers.DateTimeField()
    to = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        return {("from" if name == "from_" else name): field for name, field in super().get_fields().items()}


class UsageAnalyticsSerializer(RangeSerializer):
    """Usage over time and by group, highest cost first. The first and the last point may cover a part of a bucket."""

    bucket = serializers.CharField()
    group_by = serializers.CharField()
    totals = TotalsSerializer()
    points = PointSerializer(many=True)
    groups = GroupTotalsSerializer(many=True)
    groups_left_out = serializers.IntegerField()
    series = SeriesSerializer(many=True)


class LineSerializer(serializers.Serializer):
    key = serializers.CharField(allow_null=True)
    label: Any = serializers.CharField()
    calls = serializers.IntegerField()
    failed_calls = serializers.IntegerField()
    simulated_calls = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost_usd = Usd()
    last_at = serializers.DateTimeField(allow_null=True)


class ChangeSerializer(serializers.Serializer):
    calls = Share()
    cost_usd = Share()
    input_tokens = Share()
    output_tokens = Share()


class MonthTotalsSerializer(TotalsSerializer, RangeSerializer):
    to: Any = None


class RecentTotalsSerializer(TotalsSerializer):
    failed_share = Share()


class PeopleSerializer(serializers.Serializer):
    total = serializers.IntegerField()
    new_30_days = serializers.IntegerField()
    active_24_hours = serializers.IntegerField()
    active_7_days = serializers.IntegerField()
    active_30_days = serializers.IntegerField()


class RunningSerializer(serializers.Serializer):
    calls = serializers.IntegerField()
    held_usd = Usd()


class AheadSerializer(serializers.Serializer):
    """Forecast to the month's end from the last whole days. The range should contain four of five actual amounts."""

    expected_usd = Usd()
    low_usd = Usd()
    high_usd = Usd()
    per_day_usd = Usd()
    days_observed = serializers.IntegerField()
    exhausted_at = serializers.DateTimeField(allow_null=True)


class SystemBudgetSerializer(serializers.Serializer):
    spent_usd = Usd()
    held_usd = Usd()
    limit_usd = Usd(allow_null=True)
    left_usd = Usd(allow_null=True)
    used_share = Share()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    forecast = AheadSerializer(allow_null=True, help_text="null: fewer than three whole days of history")


class NearSerializer(serializers.Serializer):
    scope = serializers.CharField()
    scope_id = serializers.UUIDField(allow_null=True)
    label: Any = serializers.CharField()
    spent_usd = Usd()
    limit_usd = Usd()
    used_percent = serializers.IntegerField()


class OverviewSerializer(serializers.Serializer):
    """The overview. Days are UTC. `change` compares the last 30 days with the 30 before (0.25: a quarter more)."""

    at = serializers.DateTimeField()
    today = TotalsSerializer()
    yesterday = TotalsSerializer()
    month = MonthTotalsSerializer()
    last_30_days = RecentTotalsSerializer()
    previous_30_days = TotalsSerializer()
    change = ChangeSerializer()
    days = PointSerializer(many=True)
    top_models = GroupTotalsSerializer(many=True)
    top_users = LineSerializer(many=True)
    users = PeopleSerializer()
    running = RunningSerializer()
    system_budget = SystemBudgetSerializer()
    budgets_near_limit = NearSerializer(many=True)
    rolled_until = serializers.DateTimeField(allow_null=True, help_text="later usage was read from the usage log")


class AlternativeSerializer(serializers.Serializer):
    model = serializers.CharField()
    label: Any = serializers.CharField()
    quality = serializers.IntegerField()
    cost_usd = Usd(help_text="of the same tokens")
    saving_usd = Usd()
    saving_per_month_usd = Usd(allow_null=True)


class ModelCostSerializer(GroupTotalsSerializer):
    provider = serializers.CharField(allow_blank=True)
    quality = serializers.IntegerField(allow_null=True)
    lifecycle = serializers.CharField()
    replaced_by = serializers.CharField(allow_blank=True)
    price_known = serializers.BooleanField()
    failed_cost_usd = Usd()
    estimated_calls = serializers.IntegerField()
    overrun_usd = Usd()
    max_input_tokens = serializers.IntegerField()
    max_output_tokens = serializers.IntegerField()
    cost_share = Share()
    cached_share = Share()
    cost_per_call_usd = Usd(allow_null=True)
    alternative = AlternativeSerializer(allow_null=True)


class SuggestionSerializer(serializers.Serializer):
    """A suggestion. `evidence`: its figures. A saving that cannot be computed is null."""

    kind = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    evidence = serializers.DictField()
    saving_per_month_usd = Usd(allow_null=True)


class CostTotalsSerializer(TotalsSerializer):
    failed_cost_usd = Usd()
    estimated_calls = serializers.IntegerField()
    overrun_usd = Usd()
    max_input_tokens = serializers.IntegerField()
    max_output_tokens = serializers.IntegerField()
    cached_share = Share()


class CostOptimizationSerializer(RangeSerializer):
    """Models by cost, each with the cost of the same tokens on a model of about the same quality."""

    baseline_model = serializers.CharField()
    totals = CostTotalsSerializer()
    possible_saving_usd = Usd()
    possible_saving_per_month_usd = Usd(allow_null=True)
    observed_days = serializers.FloatField()
    models = ModelCostSerializer(many=True)
    suggestions = SuggestionSerializer(many=True)
