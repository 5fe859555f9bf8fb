"""The stored figures of the installation: per minute, and per hour after a week."""

from __future__ import annotations

from django.db import models


class SystemMetric(models.Model):
    """The figures of one minute or one hour. Counts are sums; the others were measured at its end, and an hour has their means.

    Null means that a figure could not be measured (no beat, or a database that does not report it).
    """

    class Span(models.TextChoices):
        MINUTE = "minute"
        HOUR = "hour"

    at = models.DateTimeField(help_text="the first instant, UTC")
    span = models.CharField(max_length=6, choices=Span, default=Span.MINUTE)
    # The machine of the worker that runs the sample.
    cpu_percent = models.FloatField(null=True)
    memory_used_bytes = models.BigIntegerField(null=True)
    memory_total_bytes = models.BigIntegerField(null=True)
    disk_used_bytes = models.BigIntegerField(null=True, help_text="of the volume that DATA_DIR is on")
    disk_total_bytes = models.BigIntegerField(null=True)
    database_connections = models.PositiveIntegerField(null=True)
    database_bytes = models.BigIntegerField(null=True)
    database_ms = models.FloatField(null=True, help_text="time of a query that does nothing")
    valkey_bytes = models.BigIntegerField(null=True)
    valkey_ms = models.FloatField(null=True)
    queues = models.JSONField(default=dict, help_text="messages that wait, by Celery queue")
    queued = models.PositiveIntegerField(null=True, help_text="all queues together")
    # Over all web processes.
    processes = models.PositiveIntegerField(null=True)
    running_turns = models.PositiveIntegerField(null=True)
    open_sockets = models.PositiveIntegerField(null=True)
    open_holds = models.PositiveIntegerField(null=True)
    held_usd = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    requests = models.PositiveBigIntegerField(default=0)
    errors = models.PositiveBigIntegerField(default=0, help_text="answers with 5xx, and streams that broke off")
    latency = models.JSONField(default=list, help_text="requests per bucket (aiagents/core/metrics/counting.py)")
    calls = models.PositiveBigIntegerField(default=0, help_text="settled vendor calls")
    failed_calls = models.PositiveBigIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-at"]
        constraints = [models.UniqueConstraint(fields=["at", "span"], name="one_metric_per_moment")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} ({self.span})"
