"""Budget alerts, and each user's settings for them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from aiagents.core.db.money_field import MoneyField
from aiagents.core.ids import uuid7


def default_thresholds() -> list[int]:
    return list(settings.BUDGET_ALERT_THRESHOLDS)


class AlertSettings(models.Model):
    """The alerts that a user wants; the defaults apply to a user without a row."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="alert_settings")
    enabled = models.BooleanField(default=True)
    by_email = models.BooleanField(default=True)
    thresholds = models.JSONField(default=default_thresholds, help_text="percent of the limit, 1 to 100")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = verbose_name_plural = "alert settings"

    def __str__(self) -> str:
        return f"{self.user_id}: {self.thresholds}"


class BudgetAlert(models.Model):
    """An alert to one user that a budget reached a threshold, once a month. Also the outbox of its e-mail."""

    class Mail(models.TextChoices):
        NONE = "none"
        DUE = "due"
        SENT = "sent"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="budget_alerts", help_text="who is told")
    window = models.ForeignKey("billing.BudgetWindow", models.CASCADE, related_name="alerts")
    threshold = models.PositiveSmallIntegerField(help_text="percent of the limit")
    # The amounts at that time, and the name of the budget's subject.
    spent_usd = MoneyField()
    limit_usd = MoneyField()
    subject = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    read_at = models.DateTimeField(null=True, blank=True)
    mail = models.CharField(max_length=6, choices=Mail, default=Mail.NONE)
    mail_attempts = models.PositiveSmallIntegerField(default=0)
    # When the next attempt is due. The worker that moves this time forward makes the attempt.
    mail_due_at = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["window", "threshold", "user"], name="one_alert_per_threshold")]
        indexes = [
            models.Index(fields=["user", "-created_at"]),
            models.Index(fields=["mail_due_at"], name="alert_mail_due", condition=Q(mail="due")),
        ]

    def __str__(self) -> str:
        return f"{self.threshold} % of {self.subject or 'a budget'}"

    @property
    def percent(self) -> Any:
        """Return the spent share of the limit in percent."""
        return self.spent_usd * 100 / self.limit_usd if self.limit_usd else 0
