"""Conversations for staff, without their content. Content needs a permission of its own, and reading it is audited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from aiagents.core.admin import columns, filters
from aiagents.core.admin.read_only import CONTENT, WithContent
from billing.models import AIModel
from chat.models import Conversation, Message

PERMISSION = CONTENT


@admin.register(Conversation)
class ConversationAdmin(WithContent):
    list_display = [
        "id",
        columns.link("user", show="user__email"),
        "pinned",
        "archived",
        "created_at",
        "updated_at",
        "deleted_at",
        "messages",
    ]
    list_filter = ["archived", filters.empty("deleted_at", "deleted", "there", "deleted"), "created_at", "updated_at"]
    search_people = ("user",)
    list_select_related = ["user"]
    fields = [
        "id", "user", columns.text("title", most=200), columns.json("settings"), "pinned", "archived", "leaf", "created_at", "updated_at",
        "deleted_at", "messages",
    ]  # fmt: skip
    content_fields = tuple(fields[2:4])
    ordering = ["-id"]

    @admin.display(description="messages")
    def messages(self, conversation: Conversation) -> Any:
        return columns.listed("chat", "message", {"conversation__id__exact": conversation.pk}, "show")

    messages.raw = lambda conversation: ""  # type: ignore[attr-defined]  # our CSV reads this attribute of the function


@admin.register(Message)
class MessageAdmin(WithContent):
    list_display = [
        "id", columns.link("conversation"), "role", columns.state("status"), columns.text("model"), "provider",
        columns.money("cost_usd", "cost"), columns.number("output_tokens", "output"), columns.millis("latency_ms", "time"), "created_at",
    ]  # fmt: skip
    list_filter = ["status", "role", filters.one_of("provider", AIModel.Provider.choices), "simulated", "feedback", "created_at"]
    search_requests = ("request_id",)
    list_defer = ("content", "parts", "reasoning", "steps", "options", "metadata", "route", "error")
    search_ids = ("conversation",)
    search_exact = ("model",)
    search_people = ("conversation__user",)
    list_select_related = ["conversation"]
    ordering = ["-id"]
    fields = [
        "id", "owner", "conversation", "parent", "role", "status", "model", "provider", "finish_reason", columns.json("error"),
        columns.json("route"), columns.number("input_tokens"), columns.number("cached_input_tokens"), columns.number("output_tokens"),
        columns.number("reasoning_tokens"), columns.money("cost_usd"), columns.millis("latency_ms"), columns.millis("ttft_ms"), "simulated",
        "feedback", "request_id",
        columns.json("feedback_comment"), columns.json("content"), columns.json("parts"), columns.json("reasoning"),
        columns.json("steps"), columns.json("options"), columns.json("metadata"), "last_seq", "heartbeat_at", "created_at", "ended_at",
    ]  # fmt: skip
    content_fields = tuple(fields[21:28])

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        # Long texts are read only when one conversation is opened.
        return super().get_queryset(request).select_related("conversation__user")

    @admin.display(description="user")
    def owner(self, message: Message) -> Any:
        return columns.to(message.conversation.user)
