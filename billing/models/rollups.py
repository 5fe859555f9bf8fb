"""Usage added up by hour and by day, so that a year of it is read in milliseconds."""

from __future__ import annotations

from decimal import Decimal

from django.db import models

from billing.money.fields import MoneyField


class UsageRollup(models.Model):
    """The sums of one bucket over the rows that agree in what its `slice` tells apart; the other columns are empty.

    Each slice alone adds up to the whole: slices are read one at a time, never together. Made from the usage log by
    billing/reports/rollups.py and by nothing else; it can be thrown away and made anew.
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
    # What is told apart.
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
    # What is added up.
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
    # Of the calls that went well; `timed`: those that streamed a first token.
    latency_ms = models.BigIntegerField(default=0)
    timed_calls = models.BigIntegerField(default=0)
    ttft_ms = models.BigIntegerField(default=0)
    writing_ms = models.BigIntegerField(default=0, help_text="from the first token to the last")
    written_tokens = models.BigIntegerField(default=0)
    max_input_tokens = models.BigIntegerField(default=0)
    max_output_tokens = models.BigIntegerField(default=0)
    last_at = models.DateTimeField(null=True)
    # Calls per latency bucket (billing/reports/timing.py); of the slice `model` only.
    latencies = models.JSONField(default=list)
    first_tokens = models.JSONField(default=list)

    class Meta:
        ordering = ["-starts_at"]
        # The constraint's index would serve as well, but is so wide that reading the whole table looks cheaper.
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
    """The one row that says how far the rollups have come. Who adds up holds its lock."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    # Every hour that ended by then was added up; None: nothing ever was.
    rolled_until = models.DateTimeField(null=True)
    # Rows that were written since then may belong into hours that were added up before.
    checked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"until {self.rolled_until}"
