"""Conversations, each a tree of messages."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone

from aiagents.core.db.money_field import MoneyField
from aiagents.core.ids import uuid7


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> ConversationQuerySet:
        return self.filter(user=user, deleted_at=None)


class Conversation(models.Model):
    """`leaf` is the newest message of the chosen branch; the branch is its chain of parents."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=200, blank=True)
    title_is_set = models.BooleanField(default=False, help_text="a person chose it; never overwritten")
    pinned = models.BooleanField(default=False)
    archived = models.BooleanField(default=False)
    settings = models.JSONField(default=dict, help_text="model, goal, agent_id, system_prompt, temperature, max_output_tokens")
    leaf = models.ForeignKey("Message", models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Its owner requested the erasure before the end of the retention time.
    erase_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-pinned", "-updated_at"]
        indexes = [
            models.Index(fields=["user", "-pinned", "-updated_at"]),
            models.Index(fields=["deleted_at"], name="conversation_deleted", condition=~Q(deleted_at=None)),
        ]

    def __str__(self) -> str:
        return str(self.id)  # not the title: it is content, and this text appears in the admin and in logs


class Message(models.Model):
    """A node of the tree. A turn writes an assistant message, which never changes after the turn's end."""

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    class Status(models.TextChoices):
        PENDING = "pending"
        STREAMING = "streaming"
        COMPLETE = "complete"
        CANCELLED = "cancelled"
        FAILED = "failed"
        INTERRUPTED = "interrupted"

    RUNNING = (Status.PENDING, Status.STREAMING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    role = models.CharField(max_length=9, choices=Role)
    status = models.CharField(max_length=11, choices=Status, default=Status.COMPLETE)
    content = models.TextField(blank=True)
    # A user's parts ([{type: text|image|file, …}]) if the message is more than text.
    parts = models.JSONField(default=list, blank=True)
    reasoning = models.TextField(blank=True)
    # Tool calls and results of the turn, in order, as `tool.call` / `tool.result` events.
    steps = models.JSONField(default=list, blank=True)
    model = models.CharField(max_length=100, blank=True)
    provider = models.CharField(max_length=20, blank=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    error = models.JSONField(null=True, blank=True)
    route = models.JSONField(default=dict, blank=True)
    # The options of the turn (model, goal, temperature…), for regenerate and continue.
    options = models.JSONField(default=dict, blank=True)
    input_tokens = models.PositiveBigIntegerField(default=0)
    cached_input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = MoneyField(default=Decimal(0))
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    ttft_ms = models.PositiveIntegerField(null=True, blank=True)
    simulated = models.BooleanField(default=False)
    feedback = models.SmallIntegerField(null=True, blank=True, choices=[(1, "up"), (-1, "down")])
    feedback_comment = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # The request that created it, or that created the answer to it.
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    # The last event in the row, whose text may be partial, and below the last heartbeat of its process.
    last_seq = models.PositiveIntegerField(default=0)
    # The user whose turn writes it, for counting running turns without reading the user's conversations.
    writer_for = models.UUIDField(null=True, blank=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        permissions = [("view_content", "Can read what people wrote and were answered")]
        indexes = [
            models.Index(fields=["conversation", "id"]),
            models.Index(fields=["heartbeat_at"], name="message_running", condition=Q(status__in=["pending", "streaming"])),
            models.Index(fields=["writer_for"], name="message_running_for", condition=Q(status__in=["pending", "streaming"])),
            models.Index(fields=["created_at"], name="message_rated", condition=Q(feedback__isnull=False)),
            models.Index(fields=["request_id"], name="message_request", condition=~Q(request_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"
