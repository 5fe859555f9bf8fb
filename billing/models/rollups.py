"""Rollups of usage by hour and by day: a year is read in milliseconds."""

from __future__ import annotations

from decimal import Decimal

from django.db import models

from aiagents.core.db.money_field import MoneyField


class UsageRollup(models.Model):
    """The sums of one bucket over the rows with the same values in the columns of its `slice`; others are empty.

    Each slice adds up to the whole, so a query must read one slice only. Only billing/reports/rollups.py writes these
    rows. It can compute them again from the usage log at any time.
    """

    class Kind(models.TextChoices):
        HOUR = "hour"
        DAY = "day"

    class Slice(models.TextChoices):
        MODEL = "model"
        WORK = "work", "purpose, surface, status"
        USER = "user"
        KEY = "key"
        AGENT = "agent"
        ENDING = "ending", "model, status, error code"

    kind = models.CharField(max_length=4, choices=Kind)
    slice = models.CharField(max_length=6, choices=Slice)
    starts_at = models.DateTimeField(help_text="the bucket's first instant, UTC")
    # The columns to group by.
    user_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    model = models.CharField(max_length=100, blank=True)
    provider = models.CharField(max_length=20, blank=True)
    purpose = models.CharField(max_length=20, blank=True)
    surface = models.CharField(max_length=10, blank=True)
    status = models.CharField(max_length=12, blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    simulated = models.BooleanField(default=False)
    # The sums.
    calls = models.BigIntegerField(default=0)
    failed_calls = models.BigIntegerField(default=0, help_text="failed, cancelled or interrupted")
    estimated_calls = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cached_input_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    cost_usd = MoneyField(default=Decimal(0))
    failed_cost_usd = MoneyField(default=Decimal(0))
    baseline_cost_usd = MoneyField(default=Decimal(0))
    compared_cost_usd = MoneyField(default=Decimal(0), help_text="cost of the calls that have a baseline")
    overrun_usd = MoneyField(default=Decimal(0))
    cache_saved_usd = MoneyField(default=Decimal(0), db_default=Decimal(0))
    # Of successful calls; `timed`: those that streamed a first token.
    latency_ms = models.BigIntegerField(default=0)
    timed_calls = models.BigIntegerField(default=0)
    ttft_ms = models.BigIntegerField(default=0)
    writing_ms = models.BigIntegerField(default=0, help_text="from the first token to the last")
    written_tokens = models.BigIntegerField(default=0)
    max_input_tokens = models.BigIntegerField(default=0)
    max_output_tokens = models.BigIntegerField(default=0)
    last_at = models.DateTimeField(null=True)
    # Calls per latency bucket (billing/reports/timing.py); only in the slice `model`.
    latencies = models.JSONField(default=list)
    first_tokens = models.JSONField(default=list)

    class Meta:
        ordering = ["-starts_at"]
        # The constraint's index is so wide that the planner would prefer to scan the whole table.
        indexes = [models.Index(fields=["kind", "slice", "starts_at"], name="rollup_range")]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "kind", "slice", "starts_at", "user_id", "api_key_id", "agent_id", "model", "provider", "purpose", "surface",
                    "status", "error_code", "simulated",
                ],
                name="one_rollup_per_bucket", nulls_distinct=False,
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.slice} per {self.kind}, {self.starts_at:%Y-%m-%d %H:%M}"


class RollupState(models.Model):
    """The one row that records up to when usage was rolled up. The process that rolls up holds its lock."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    # Every hour that ended by then was rolled up; None: none yet.
    rolled_until = models.DateTimeField(null=True)
    # Rows written since then may belong to hours that were already rolled up.
    checked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"until {self.rolled_until}"
