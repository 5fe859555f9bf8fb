"""API keys and sessions. Staff can view and end them, but not create them; no page shows a secret."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit, keys
from accounts.admin.acting import staff, within_reach
from accounts.client import Origin
from accounts.models import ApiKey, TokenFamily
from accounts.sign_in import tokens
from aiagents.core.admin import columns, filters
from aiagents.core.admin.read_only import ReadOnly


def _reachable(page: ReadOnly, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
    """Return the rows whose user this staff member may act on; a message shows how many were left out."""
    rows = list(queryset.select_related("user"))
    within = [row for row in rows if within_reach(request, row.user)]
    if left := len(rows) - len(within):
        page.message_user(request, f"{left} left unchanged: only superusers can change staff and admins.", messages.WARNING)
    return within


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """API keys. Staff can view and revoke them; only users create them. No page shows the digest."""

    list_display = [
        "name", "prefix", columns.link("user", show="user__email"), "scope_list", "state", "rate_limit", "expires_at", "last_used_at",
        "created_at",
    ]  # fmt: skip
    list_filter = [
        filters.cases(
            "state",
            "state",
            [
                ("live", "works", Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=Now()))),
                ("revoked", "revoked", ~Q(revoked_at=None)),
                ("expired", "expired", Q(revoked_at=None, expires_at__lte=Now())),
            ],
        ),
        filters.empty("last_used_at", "use", "never used", "used"),
        "created_at",
    ]
    search_contains = ("name", "prefix")
    search_people = ("user",)
    list_select_related = ["user"]
    ordering = ["-created_at"]
    fields = ["id", "user", "name", "prefix", "scope_list", "rate_limit", "expires_at", "last_used_at", "revoked_at", "created_at"]
    readonly_fields = ["scope_list"]
    actions = ["revoke"]

    @admin.display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.revoked_at:
            return "revoked"
        return "expired" if key.expires_at and key.expires_at <= timezone.now() else "works"

    @admin.action(description="Revoke", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        rows = _reachable(self, request, queryset)
        count = sum(keys.revoke(key, actor=staff(request), ip=Origin.of(request).ip) for key in rows)
        self.message_user(request, f"{count} revoked.", messages.SUCCESS)


@admin.register(TokenFamily)
class TokenFamilyAdmin(ReadOnly):
    list_display = [
        columns.link("user", show="user__email"), "ip", columns.text("user_agent"), "created_at", "rotated_at", "expires_at", "revoked_at",
        columns.text("revoked_reason"),
    ]  # fmt: skip
    list_filter = [filters.empty("revoked_at", "state", "not ended", "ended"), "created_at", "expires_at"]
    search_people = ("user",)
    search_exact = ("revoked_reason",)
    list_select_related = ["user"]
    ordering = ["-id"]
    actions = ["revoke"]

    @admin.action(description="End these sessions", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[TokenFamily]) -> None:
        for family in _reachable(self, request, queryset):
            if tokens.revoke(family, "staff"):
                audit.record("session.revoke", actor=staff(request), target=family, ip=Origin.of(request).ip)
        self.message_user(request, "These sessions are ended.", messages.SUCCESS)
