"""The audit log, read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q

from accounts.models import AuditEvent
from aiagents.core.admin import columns, filters
from aiagents.core.admin.read_only import ReadOnly

# The prefixes of actions to filter by. Reading them from the log would scan it.
AUDITED = [
    ("login", "sign-ins"), ("admin.login", "sign-ins here"), ("admin.export", "exports"), ("user", "users"), ("api_key", "API keys"),
    ("session", "sessions"), ("password", "passwords"), ("register", "registrations"), ("budget", "budgets"),
    ("model", "models and prices"),
    ("providerconnection", "provider connections"), ("httptool", "HTTP tools"), ("agent", "agents"), ("task", "tasks"),
    ("chat", "content that was read"),
]  # fmt: skip


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    list_display = [
        "at",
        "action",
        columns.link("actor", show="actor__email"),
        "target_type",
        "target_id",
        "ip",
        columns.text("request_id"),
    ]
    list_filter = [filters.cases("about", "about", [(name, title, Q(action__startswith=name)) for name, title in AUDITED]), "at"]
    search_requests = ("request_id",)
    search_exact = ("action", "target_id")
    search_ids = ("target_id",)
    search_people = ("actor",)
    list_select_related = ["actor"]
    ordering = ["-at", "-id"]
    fields = ["at", "action", "actor", "target_type", "target_id", "ip", "request_id", columns.json("details")]
    readonly_fields = [fields[-1]]
    export_also = ("details",)
