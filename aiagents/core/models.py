"""Stored responses of requests with an Idempotency-Key. The app `aiagents` registers the table (aiagents/models.py)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class IdempotentAnswer(models.Model):
    """The first response for an `Idempotency-Key` of one principal; `status` is 0 while the first request runs."""

    principal = models.CharField(max_length=64, help_text="id of the user")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body")
    status = models.PositiveSmallIntegerField(default=0)
    body = models.BinaryField(default=b"")
    content_type = models.CharField(max_length=100, default="application/json")
    # What the first request started, so that a replay finds it after a crash: e.g. {"message_id": …}.
    reference = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="one_answer_per_key")]
        indexes = [models.Index(fields=["created_at"])]

    def __str__(self) -> str:
        return f"{self.principal} {self.key} ({self.status or 'running'})"
