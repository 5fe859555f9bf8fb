"""Usage that vendors reported and that has no price."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from aiagents.core.ids import uuid7


class UnpricedUsage(models.Model):
    """A count or a way of processing without a price, which calls of a model were charged at the ceiling for.

    The unknown fields of those requests are blocked until the model has a price for the name: staff enter it with the
    model, 0 if it is free.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    model = models.CharField(max_length=100, help_text="slug")
    name = models.CharField(max_length=200, help_text="in a price: of a unit, or of a mode if it has a =")
    fields = models.JSONField(default=list, help_text="unknown fields of the requests that brought it")
    calls = models.PositiveBigIntegerField(default=0)
    last_call_id = models.UUIDField(null=True)
    first_at = models.DateTimeField(default=timezone.now, editable=False)
    last_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-last_at"]
        verbose_name, verbose_name_plural = "usage without a price", "usage without a price"
        constraints = [models.UniqueConstraint(fields=["provider", "model", "name"], name="one_unpriced_usage_per_name")]

    def __str__(self) -> str:
        return f"{self.model}: {self.name}"
