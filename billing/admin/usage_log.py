"""The usage log and the holds, read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q

from aiagents.core.admin import columns, filters
from aiagents.core.admin.read_only import ReadOnly
from billing.ledger.charging import UNPRICED
from billing.models import AIModel, Hold, UsageLog

PURPOSES = ("chat", "title", "agent", "task", "api", "test")
SURFACES = ("rest", "sse", "ws", "openai", "anthropic", "worker", "admin")


def slugs() -> list[tuple[str, str]]:
    return [(slug, slug) for slug in AIModel.objects.order_by("slug").values_list("slug", flat=True)]


PRICE = columns.json("price", "rates that were applied")
ALSO = columns.json("also_used", "media and tool calls")


@admin.register(UsageLog)
class UsageLogAdmin(ReadOnly):
    """The usage log. The admin cannot add, change or delete a row."""

    list_display = [
        "created_at", columns.link("user", show="user__email"), "model", columns.state("status"), "purpose", "surface",
        columns.number("input_tokens", "input"), columns.number("output_tokens", "output"), columns.money("cost_usd", "cost"),
        columns.millis("latency_ms", "time"), columns.text("flagged"), "simulated",
    ]  # fmt: skip
    # Only this order has an index; any other one would sort the whole log.
    sortable_by = ["created_at"]
    list_filter = [
        "status",
        filters.one_of("provider", AIModel.Provider.choices),
        filters.one_of("model", slugs),
        filters.one_of("purpose", [(name, name) for name in PURPOSES]),
        filters.one_of("surface", [(name, name) for name in SURFACES]),
        filters.cases(
            "flag",
            "flagged",
            [
                ("yes", "flagged", ~Q(flagged="")),
                ("unpriced", "usage without a price", Q(flagged__contains=UNPRICED)),
                ("estimated", "estimated", Q(estimated=True)),
            ],
        ),
        "simulated",
        "created_at",
    ]
    search_ids = ("call_id", "group_id", "message_id", "conversation_id", "api_key_id", "agent_id", "task_id")
    search_requests = ("request_id",)
    search_exact = ("model", "error_code")
    search_people = ("user",)
    list_select_related = ["user"]
    ordering = ["-created_at"]
    export_also = (
        "call_id", "group_id", "provider", "requested_model", "goal", "attempt", "cached_input_tokens", "cache_write_tokens",
        "cache_write_1h_tokens", "reasoning_tokens",
        "baseline_cost_usd", "cache_saved_usd",
        "overrun_usd", "estimated", "finish_reason", "error_code", "ttft_ms", "api_key_id", "agent_id", "task_id",
        "conversation_id", "request_id", "vendor_asked",
    )  # fmt: skip
    fieldsets = [
        (None, {"fields": ["created_at", "user", ("purpose", "surface"), ("status", "finish_reason", "error_code")]}),
        ("Model", {"fields": [("requested_model", "model"), ("provider", "goal"), "attempt", "simulated"]}),
        ("Used", {"fields": [
            ("input_tokens", "cached_input_tokens"), ("cache_write_tokens", "cache_write_1h_tokens"), ("output_tokens", "reasoning_tokens"),
            ALSO, ("latency_ms", "ttft_ms"),
        ]}),
        ("Cost", {"fields": [
            ("cost_usd", "baseline_cost_usd"), ("cache_saved_usd", "overrun_usd"), PRICE, ("estimated", "flagged", "vendor_asked"),
        ]}),
        ("Belongs to", {"fields": [
            "call_id", "group_id", "request_id", "api_key_id", "agent_id", "task_id", ("conversation_id", "message_id"),
        ]}),
    ]  # fmt: skip
    readonly_fields = [PRICE, ALSO]


@admin.register(Hold)
class HoldAdmin(ReadOnly):
    list_display = [
        "id", columns.state("status"), columns.money("amount_usd", "amount"), columns.number("input_tokens_estimate", "input"),
        columns.number("output_tokens_seen", "output seen"), "created_at", "heartbeat_at", "closed_at",
    ]  # fmt: skip
    list_filter = ["status", "created_at"]
    search_requests = ("call__request_id",)
    ordering = ["-id"]
    fields = [
        "id", "status", "amount_usd", "input_tokens_estimate", "output_tokens_seen", "created_at", "heartbeat_at", "closed_at", "windows",
        columns.json("call"),
    ]  # fmt: skip
    readonly_fields = [fields[-1]]
