"""API keys."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models.users import User
from aiagents.core.ids import uuid7


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def live(self) -> ApiKeyQuerySet:
        """Return the valid keys, by the database's clock: not revoked, not expired, and with an active user."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None, user__is_active=True)


class ApiKey(models.Model):
    """A program's credential. The key itself is shown once; here stand its SHA-256 and its first characters."""

    class Scope(models.TextChoices):
        CHAT = "chat", "chat and /v1"
        AGENTS = "agents"
        TASKS = "tasks"
        BILLING = "billing", "read usage and costs"
        READ = "read", "read only, everywhere the user may read"
        # It lets a program decide for a person, so it is in no default, and no other scope includes it.
        APPROVE = "approve", "approve or reject tool calls that wait for a person"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    rate_limit = models.PositiveIntegerField(null=True, blank=True, help_text="requests per window; empty: the user's")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name, verbose_name_plural = "API key", "API keys"
        indexes = [models.Index(fields=["user", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
