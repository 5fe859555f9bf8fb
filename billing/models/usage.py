"""Holds: money reserved for running calls. The usage log: the cost of every call."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from aiagents.core.db.money_field import MoneyField
from aiagents.core.ids import uuid7
from billing.models.amounts import MONEY


class Hold(models.Model):
    """Money reserved for one vendor call that may be running. Its id is the call's id.

    The row contains everything that the sweeper needs to charge a call whose process died.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"
        SWEPT = "swept"

    id = models.UUIDField(primary_key=True, editable=False)
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    amount_usd = MoneyField()
    # Ids of the BudgetWindows that hold the money. They stay the same when the month ends meanwhile.
    windows = models.JSONField(default=list)
    # The facts of the call as UsageLog will store them (ledger.Call), and the price snapshot.
    call = models.JSONField(default=dict)
    input_tokens_estimate = models.PositiveIntegerField(default=0)
    output_tokens_seen = models.PositiveIntegerField(default=0)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    # The time of admission. The next attempt of the same call inherits it, with the money and the windows.
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["heartbeat_at"], name="hold_open", condition=Q(status="open")),
            models.Index(fields=["closed_at"], name="hold_closed", condition=~Q(status="open")),
        ]

    def __str__(self) -> str:
        return f"{self.amount_usd} {self.status}"


class UsageLogQuerySet(models.QuerySet["UsageLog"]):
    """Rows that are written once and never change."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("the usage log is never updated; a correction is a new row")

    def delete(self) -> NoReturn:
        raise TypeError("the usage log is never deleted")


class UsageLog(models.Model):
    """One vendor call, as it was charged. Never updated, never deleted; a correction is a new row.

    Keys, agents, tasks and conversations are plain ids, not foreign keys: a deleted conversation's costs stay.
    `created_at` is the time of admission by the database's clock. It decides the month in which the cost counts.
    """

    class Status(models.TextChoices):
        OK = "ok"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    call_id = models.UUIDField(unique=True)
    # The calls of one request (fallbacks, agent steps) share it.
    group_id = models.UUIDField()
    # Django protects a user with usage. The database has no constraint, so that no settlement can fail.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="usage", db_index=False, db_constraint=False)
    api_key_id = models.UUIDField(null=True, blank=True)
    agent_id = models.UUIDField(null=True, blank=True)
    task_id = models.UUIDField(null=True, blank=True)
    conversation_id = models.UUIDField(null=True, blank=True)
    message_id = models.UUIDField(null=True, blank=True)
    purpose = models.CharField(max_length=20, help_text="chat, title, agent, task, api")
    surface = models.CharField(max_length=10, help_text="rest, sse, ws, openai, anthropic, worker")
    request_id = models.CharField(max_length=64, blank=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    requested_model = models.CharField(max_length=100)
    model = models.CharField(max_length=100)
    provider = models.CharField(max_length=20)
    goal = models.CharField(max_length=8, blank=True)
    status = models.CharField(max_length=12, choices=Status)
    finish_reason = models.CharField(max_length=20, blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    input_tokens = models.PositiveBigIntegerField(default=0)
    cached_input_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0)
    # Part of the writes: those into the vendor's one-hour cache. Empty in rows of earlier versions.
    cache_write_1h_tokens = models.PositiveBigIntegerField(null=True, default=None)
    output_tokens = models.PositiveBigIntegerField(default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    also_used = models.JSONField(
        null=True, blank=True, default=None, help_text="what has a price of its own: media (parts of the tokens), units (tool calls)"
    )
    cost_usd = models.DecimalField(**MONEY)
    # The cost of the same tokens with the baseline model; empty where it is unknown.
    baseline_cost_usd = models.DecimalField(**MONEY, null=True, blank=True)
    cache_saved_usd = models.DecimalField(
        **MONEY, null=True, blank=True, default=None,
        help_text="what the tokens would have cost more without the vendor's prompt cache; negative: writing cost more than reading saved",
    )  # fmt: skip
    price = models.JSONField(default=dict, help_text="the rates that were applied, USD per million tokens")
    estimated = models.BooleanField(default=False, help_text="the vendor reported no usage")
    flagged = models.CharField(max_length=100, blank=True, help_text="e.g. price_unknown, usage_absurd")
    overrun_usd = models.DecimalField(**MONEY, default=Decimal(0), help_text="cost above what was held")
    latency_ms = models.PositiveIntegerField(default=0)
    ttft_ms = models.PositiveIntegerField(null=True, blank=True)
    simulated = models.BooleanField(default=False)
    vendor_asked = models.BooleanField(
        null=True, default=None, help_text="false: the request never went out, and costs nothing; empty: not known, as after a crash"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UsageLogQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name, verbose_name_plural = "usage log", "usage log"
        constraints = [models.CheckConstraint(condition=Q(cost_usd__gte=0), name="cost_not_negative")]
        indexes = [
            models.Index(fields=["user", "-created_at"]),
            models.Index(fields=["-created_at"]),
            models.Index(fields=["model", "-created_at"]),
            models.Index(fields=["api_key_id", "-created_at"], name="usage_key", condition=~Q(api_key_id=None)),
            models.Index(fields=["message_id"], name="usage_message", condition=~Q(message_id=None)),
            models.Index(fields=["request_id"], name="usage_request", condition=~Q(request_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.cost_usd}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("the usage log is never updated; a correction is a new row")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("the usage log is never deleted")
