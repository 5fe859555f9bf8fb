"""What it costs and whether it may run: catalogue, prices, budgets, holds, and the usage log."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from aiagents.core.ids import uuid7
from billing.models.alerts import AlertSettings, BudgetAlert
from billing.models.rollups import RollupState, UsageRollup
from billing.money.fields import MoneyField

__all__ = [
    "AIModel", "AlertSettings", "Budget", "BudgetAlert", "BudgetWindow", "Hold", "ModelPrice", "RollupState", "UsageLog", "UsageRollup",
]  # fmt: skip
# USD per million tokens needs 6 places at most; one token of that needs 12.
MONEY: Any = {"max_digits": 24, "decimal_places": 12}
RATE: Any = {"max_digits": 14, "decimal_places": 6}


class CatalogueRow(models.Model):
    """A row of the catalogue: every process hears of its change. (`QuerySet.update` tells nobody; they reload in seconds.)"""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        self._tell()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        self._tell()
        return deleted

    def _tell(self) -> None:
        from billing.catalogue import snapshot as catalogue  # it reads these models

        catalogue.invalidate()


class AIModel(CatalogueRow):
    """One model that may be asked for by `slug`. What it can do is data, kept by the catalogue and staff."""

    class Provider(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"
        GOOGLE = "google", "Google"
        OPENAI_COMPATIBLE = "openai_compatible", "OpenAI-compatible"

    class Lifecycle(models.TextChoices):
        ACTIVE = "active"
        DEPRECATED = "deprecated"
        RETIRED = "retired"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=100, unique=True, help_text="the id clients use, e.g. gpt-4o-mini")
    display_name = models.CharField(max_length=100)
    provider = models.CharField(max_length=20, choices=Provider)
    connection = models.CharField(max_length=50, blank=True, help_text="slug of a provider connection; empty: the vendor's own")
    vendor_model = models.CharField(max_length=150, help_text="the name on the vendor's wire")
    description = models.TextField(blank=True)
    context_window = models.PositiveIntegerField(help_text="tokens, input and output together")
    max_output_tokens = models.PositiveIntegerField()
    vision = models.BooleanField(default=False)
    files = models.BooleanField(default=False)
    tools = models.BooleanField(default=True)
    json = models.BooleanField(default=True, help_text="JSON mode or schema")
    reasoning = models.BooleanField(default=False)
    temperature = models.BooleanField(default=True, help_text="accepts sampling parameters")
    embeddings = models.BooleanField(default=False, help_text="turns text into vectors; such a model does not chat")
    dimensions = models.PositiveIntegerField(default=0, help_text="length of an embedding model's vectors; 0: unknown or none")
    quality = models.PositiveSmallIntegerField(default=50, help_text="0 to 100, relative to the field")
    tokens_per_second = models.FloatField(default=60, help_text="typical output speed before we have measured it")
    ttft_ms = models.PositiveIntegerField(default=700, help_text="typical time to first token before we have measured it")
    lifecycle = models.CharField(max_length=10, choices=Lifecycle, default=Lifecycle.ACTIVE)
    replaced_by = models.CharField(max_length=100, blank=True, help_text="slug")
    enabled = models.BooleanField(default=True)
    # What people said of its answers lately (billing/catalogue/votes.py): votes, and the points of quality that they are worth.
    votes_up = models.PositiveIntegerField(default=0, editable=False)
    votes_down = models.PositiveIntegerField(default=0, editable=False)
    votes_points = models.FloatField(default=0, editable=False)
    votes_counted_at = models.DateTimeField(null=True, editable=False)
    # The values that data/catalogue.json gave last: a field that differs from them was changed by staff, and stays.
    loaded = models.JSONField(default=dict, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["provider", "slug"]
        verbose_name, verbose_name_plural = "AI model", "AI models"

    def __str__(self) -> str:
        return self.slug


class ModelPrice(CatalogueRow):
    """Rates in USD per million tokens, from a moment on. Never edited once used: a new price is a new row.

    Above `tier_threshold` input tokens (long context) the `tier_*` rates hold for the whole call.
    An empty cached or write rate means the input rate.
    """

    model = models.ForeignKey(AIModel, models.CASCADE, related_name="prices")
    effective_from = models.DateTimeField(default=timezone.now)
    input = models.DecimalField(**RATE)
    cached_input = models.DecimalField(**RATE, null=True, blank=True)
    cache_write = models.DecimalField(**RATE, null=True, blank=True)
    output = models.DecimalField(**RATE)
    tier_threshold = models.PositiveIntegerField(null=True, blank=True)
    tier_input = models.DecimalField(**RATE, null=True, blank=True)
    tier_cached_input = models.DecimalField(**RATE, null=True, blank=True)
    tier_cache_write = models.DecimalField(**RATE, null=True, blank=True)
    tier_output = models.DecimalField(**RATE, null=True, blank=True)
    source = models.CharField(max_length=50, default="staff", help_text="genai-prices VERSION, or staff")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["model", "-effective_from"]
        constraints = [
            models.UniqueConstraint(fields=["model", "effective_from"], name="one_price_per_moment"),
            models.CheckConstraint(condition=Q(input__gte=0, output__gte=0), name="price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.model_id}: {self.input}/{self.output} from {self.effective_from:%Y-%m-%d}"


class Budget(models.Model):
    """A monthly limit in USD over one scope. `limit_usd` empty: counted, not limited.

    The system's and each user's budget always exist; a key's, agent's or task's only where one is set.
    """

    class Scope(models.TextChoices):
        SYSTEM = "system"
        USER = "user"
        KEY = "key"
        AGENT = "agent"
        TASK = "task"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    scope = models.CharField(max_length=8, choices=Scope)
    scope_id = models.UUIDField(null=True, blank=True, help_text="of the user, key, agent or task; empty for the system")
    limit_usd = models.DecimalField(**MONEY, null=True, blank=True)
    time_zone = models.CharField(max_length=64, help_text="zone in which its month begins")
    # When the limit was last set below what it was: until then spent + held above it is a mistake, after it may be history.
    lowered_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["scope", "created_at"]
        constraints = [
            models.UniqueConstraint(fields=["scope", "scope_id"], name="one_budget_per_scope", nulls_distinct=False),
            models.CheckConstraint(condition=Q(limit_usd__gte=0) | Q(limit_usd=None), name="limit_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.scope_id or ''}".strip()


class BudgetWindow(models.Model):
    """One month of one budget. `spent + held` is what admission compares with the limit; only the ledger writes it.

    `spent_usd` is, to the last digit, the sum of `cost_usd` over the scope's UsageLog rows whose `created_at` lies in
    [starts_at, ends_at), and `held_usd` the sum of the open holds that name this window.
    """

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="windows")
    starts_at = models.DateTimeField(help_text="the month's first instant, UTC")
    ends_at = models.DateTimeField()
    spent_usd = MoneyField(default=Decimal(0))
    held_usd = MoneyField(default=Decimal(0))

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            models.UniqueConstraint(fields=["budget", "starts_at"], name="one_window_per_month"),
            models.CheckConstraint(condition=Q(held_usd__gte=0), name="held_not_negative"),
            models.CheckConstraint(condition=Q(spent_usd__gte=0), name="spent_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.starts_at:%Y-%m-%d}: {self.spent_usd} + {self.held_usd}"


class Hold(models.Model):
    """Money set aside for one vendor call that may be running. Its id is the call's id.

    Everything the sweeper needs to charge a call whose process died stands here, in the row.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"
        SWEPT = "swept"

    id = models.UUIDField(primary_key=True, editable=False)
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    amount_usd = MoneyField()
    # Ids of the BudgetWindows that hold it: a month that ends meanwhile changes nothing.
    windows = models.JSONField(default=list)
    # The facts of the call as UsageLog will store them (ledger.Call), and the price snapshot.
    call = models.JSONField(default=dict)
    input_tokens_estimate = models.PositiveIntegerField(default=0)
    output_tokens_seen = models.PositiveIntegerField(default=0)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    # The moment of admission; the next attempt of the same call inherits it together with the money and the month.
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
    """Rows that are written once."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("the usage log is never updated; a correction is a new row")

    def delete(self) -> NoReturn:
        raise TypeError("the usage log is never deleted")


class UsageLog(models.Model):
    """One vendor call, as it was charged. Never updated, never deleted; a correction is a new row.

    Who and what are plain ids, not foreign keys: a deleted conversation leaves its costs in the books.
    `created_at` is when the call was admitted, by the database's clock: it names the month in which the cost counts.
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
    # Django protects a user who has used something; the database does not check, so that no settlement can fail.
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
    output_tokens = models.PositiveBigIntegerField(default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = models.DecimalField(**MONEY)
    # What the baseline model would have cost for the same tokens; empty where it is unknown.
    baseline_cost_usd = models.DecimalField(**MONEY, null=True, blank=True)
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
