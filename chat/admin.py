"""Conversations for staff: that they are there, not what they say. Content needs a right of its own and is audited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from accounts import audit
from accounts.models import User
from accounts.origin import Origin
from chat.models import Conversation, Message

PERMISSION = "chat.view_content"


class WithoutContent(ModelAdmin):
    """Nothing can be changed here. `content_fields` are shown to those with the right, and that is written down."""

    content_fields: tuple[str, ...] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fields = [str(name) for name in super().get_fields(request, obj)]
        if request.user.has_perm(PERMISSION):
            return fields
        return [name for name in fields if name not in self.content_fields]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is not None and self.has_view_permission(request, obj) and request.user.has_perm(PERMISSION):
            assert isinstance(request.user, User)
            audit.record("chat.content_read", actor=request.user, target=obj, ip=Origin.of(request).ip)
        return super().change_view(request, object_id, form_url, extra_context)


@admin.register(Conversation)
class ConversationAdmin(WithoutContent):
    list_display = ["id", "user", "pinned", "archived", "created_at", "updated_at", "deleted_at"]
    list_filter = ["archived", "created_at"]
    search_fields = ["=id", "user__email"]
    list_select_related = ["user"]
    fields = ["id", "user", "title", "settings", "pinned", "archived", "leaf", "created_at", "updated_at", "deleted_at"]
    content_fields = ("title", "settings")
    show_full_result_count = False
    ordering = ["-id"]


@admin.register(Message)
class MessageAdmin(WithoutContent):
    list_display = ["id", "conversation_id", "role", "status", "model", "provider", "cost_usd", "output_tokens", "latency_ms", "created_at"]
    list_filter = ["status", "role", "provider", "simulated", "feedback", "created_at"]
    search_fields = ["=id", "=conversation__id", "conversation__user__email"]
    ordering = ["-id"]
    show_full_result_count = False
    fields = [
        "id", "owner", "conversation_id", "parent_id", "role", "status", "model", "provider", "finish_reason", "error", "route",
        "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "latency_ms", "ttft_ms", "simulated",
        "feedback", "feedback_comment", "content", "parts", "reasoning", "steps", "options", "metadata", "last_seq", "heartbeat_at",
        "created_at", "ended_at",
    ]  # fmt: skip
    content_fields = ("feedback_comment", "content", "parts", "reasoning", "steps", "options", "metadata")

    @admin.display(description="user")
    def owner(self, message: Message) -> str:
        return message.conversation.user.email

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return list(self.fields)
