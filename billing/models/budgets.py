"""Budgets and their monthly windows."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.utils import timezone

from aiagents.core.db.money_field import MoneyField
from aiagents.core.ids import uuid7
from billing.models.amounts import MONEY


class Budget(models.Model):
    """A monthly limit in USD over one scope. An empty `limit_usd` counts without limiting.

    The system and each user always have a budget. A key, agent or task has one only if it was set.
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
    # When the limit was last lowered. A window that started before may exceed the limit without an error.
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
    """One month of one budget. Admission compares `spent + held` with the limit. Only the ledger writes them.

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
