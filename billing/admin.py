"""Models with their prices, budgets with their month, and the books, which staff only read."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Case, CharField, F, FloatField, OuterRef, Prefetch, Q, QuerySet, Subquery, When
from django.db.models.functions import Cast, Coalesce
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminSelect2Widget

from accounts.models import ApiKey, User
from aiagents.lib.office import columns, filters
from aiagents.lib.office.rows import ReadOnly, Rows
from billing import budgets
from billing.models import AIModel, Budget, BudgetWindow, Hold, ModelPrice, UsageLog

PURPOSES = ("chat", "title", "agent", "task", "api", "test")
SURFACES = ("rest", "sse", "ws", "openai", "anthropic", "worker", "admin")
RATES = (
    "input",
    "cached_input",
    "cache_write",
    "output",
    "tier_threshold",
    "tier_input",
    "tier_cached_input",
    "tier_cache_write",
    "tier_output",
)


def slugs() -> list[tuple[str, str]]:
    return [(slug, slug) for slug in AIModel.objects.order_by("slug").values_list("slug", flat=True)]


class PriceInline(TabularInline):
    """A price that may have been charged is never edited: a new one is a new row, from a moment on."""

    model = ModelPrice
    extra = 0
    fields = ["effective_from", *RATES, "source"]
    readonly_fields = ["source"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AIModel)
class AIModelAdmin(Rows):
    list_display = [
        "slug", "display_name", "provider", columns.state("lifecycle"), "enabled", "quality", columns.number("context_window", "context"),
        "price",
    ]  # fmt: skip
    list_filter = ["provider", "lifecycle", "enabled", "vision", "tools", "reasoning"]
    search_contains = ("slug", "display_name", "vendor_model")
    ordering = ["provider", "slug"]
    inlines = [PriceInline]
    actions: list[Any] = ["switch_on", "switch_off"]
    readonly_fields = ["created_at", "updated_at"]
    fieldsets = [
        (None, {"fields": [("slug", "display_name"), ("provider", "connection"), "vendor_model", "description"]}),
        ("State", {"fields": ["enabled", ("lifecycle", "replaced_by")]}),
        ("What it can do", {"fields": [
            ("context_window", "max_output_tokens"), ("vision", "files", "tools"), ("json", "reasoning", "temperature"),
        ]}),
        ("What the router assumes until it has measured", {"fields": [("quality", "tokens_per_second", "ttft_ms")]}),
        ("Times", {"fields": [("created_at", "updated_at")]}),
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[AIModel]:
        prices = ModelPrice.objects.filter(effective_from__lte=timezone.now()).order_by("-effective_from")
        return super().get_queryset(request).prefetch_related(Prefetch("prices", prices, to_attr="past_prices"))

    def get_readonly_fields(self, request: HttpRequest, obj: AIModel | None = None) -> list[str]:
        # The slug stands in usage logs and preferences; renaming it would cut them off.
        return [*self.readonly_fields, "slug"] if obj else [*self.readonly_fields]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its name stands in the books; switch it off

    @admin.display(description="USD per million tokens, in / out")
    def price(self, model: AIModel) -> str:
        current = next(iter(getattr(model, "past_prices", ())), None)
        return f"{current.input.normalize():f} / {current.output.normalize():f}" if current else "unknown"

    @admin.action(description="Switch on", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[AIModel]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Switch off", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[AIModel]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[AIModel], enabled: bool) -> None:
        def act(model: AIModel) -> None:
            model.enabled = enabled
            model.save(update_fields=["enabled", "updated_at"])
            self.note(request, "model.enable" if enabled else "model.disable", model)

        self.each(request, queryset.exclude(enabled=enabled), act, "{} switched on." if enabled else "{} switched off.")

    def save_model(self, request: HttpRequest, obj: AIModel, form: forms.ModelForm, change: bool) -> None:
        obj.save()
        self.note(request, "model.update" if change else "model.create", obj, {"fields": sorted(form.changed_data)})

    def save_formset(self, request: HttpRequest, form: forms.ModelForm, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        for price in formset.new_objects:
            details = {"input": str(price.input), "output": str(price.output), "from": price.effective_from.isoformat()}
            self.note(request, "model.price", form.instance, details)


@admin.register(ModelPrice)
class ModelPriceAdmin(ReadOnly):
    """All prices there ever were. A new one is entered at its model."""

    list_display = [
        columns.link("model", show="model__slug"), "effective_from", "input", "cached_input", "cache_write", "output", "tier_threshold",
        "tier_input", "tier_output", "source",
    ]  # fmt: skip
    list_filter = ["source", "effective_from"]
    search_contains = ("model__slug", "model__display_name")
    list_select_related = ["model"]
    ordering = ["-effective_from"]


# The name of what a budget is for, by scope, as a query for one id. Upper floors add theirs.
Named = Callable[[Any], QuerySet]
NAMES: dict[str, Named] = {
    Budget.Scope.USER: lambda id: User.objects.filter(pk=id).values("email"),
    Budget.Scope.KEY: lambda id: ApiKey.objects.filter(pk=id).values("name"),
}
PAGES = {
    Budget.Scope.USER: "admin:accounts_user_change",
    Budget.Scope.KEY: "admin:accounts_apikey_change",
    Budget.Scope.AGENT: "admin:agents_agent_change",
    Budget.Scope.TASK: "admin:tasks_task_change",
}


def _of(budget: Budget, name: str) -> Decimal:
    """What the list's query found out about the running month."""
    return getattr(budget, name, None) or Decimal(0)


class BudgetForm(forms.ModelForm):
    time_zone = forms.ChoiceField(
        choices=lambda: [(name, name) for name in sorted(zoneinfo.available_timezones())],
        initial="UTC",
        widget=UnfoldAdminSelect2Widget,
        help_text="A new zone begins with the next month; the running one ends as it was.",
    )

    class Meta:
        model = Budget
        fields = ["scope", "scope_id", "limit_usd", "time_zone"]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        scope, scope_id = data.get("scope", self.instance.scope), data.get("scope_id", self.instance.scope_id)
        if (scope == Budget.Scope.SYSTEM) != (scope_id is None):
            raise forms.ValidationError("The system's budget has no scope id; every other one needs one.")
        return data


class WindowInline(TabularInline):
    """The months of a budget, newest first. Only the ledger writes them."""

    model = BudgetWindow
    extra = 0
    verbose_name_plural = "months"
    fields = readonly_fields = ["starts_at", "ends_at", columns.money("spent_usd", "spent"), columns.money("held_usd", "held")]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Budget)
class BudgetAdmin(Rows):
    form = BudgetForm
    list_display = ["scope", "whose", columns.money("limit_usd", "limit"), "spent", "held", "left", "used", "time_zone"]
    list_filter = ["scope", filters.empty("limit_usd", "limit", "not limited", "limited")]
    search_ids = ("scope_id",)
    search_people = ("scope_id",)
    ordering = ["scope", "created_at"]
    inlines = [WindowInline]
    readonly_fields = ["whose", "spent", "held", "left"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        now = timezone.now()
        month = BudgetWindow.objects.filter(budget=OuterRef("pk"), starts_at__lte=now, ends_at__gt=now)
        whens = [When(scope=scope, then=Subquery(find(OuterRef("scope_id"))[:1])) for scope, find in NAMES.items()]
        spent = Subquery(month.values("spent_usd")[:1])
        return (
            super()
            .get_queryset(request)
            .annotate(
                month_spent=spent,
                month_held=Subquery(month.values("held_usd")[:1]),
                owner_name=Case(*whens, output_field=CharField()),
                # To order by: money is text on SQLite, which sorts 10 before 9.
                spent_number=Coalesce(Cast(spent, FloatField()), 0.0),
                used_share=Case(
                    When(limit_usd__isnull=True, then=None),
                    When(limit_usd=0, then=1.0),
                    default=F("spent_number") / Cast(F("limit_usd"), FloatField()),
                    output_field=FloatField(),
                ),
            )
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> list[str]:
        return ["scope", "scope_id", *self.readonly_fields] if obj else []

    def get_fields(self, request: HttpRequest, obj: Budget | None = None) -> list[Any]:
        return ["whose", "limit_usd", "time_zone", "spent", "held", "left"] if obj else ["scope", "scope_id", "limit_usd", "time_zone"]

    def get_inlines(self, request: HttpRequest, obj: Budget | None) -> list[Any]:
        return self.inlines if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # an empty limit does what is meant, and goes on counting

    def save_model(self, request: HttpRequest, obj: Budget, form: forms.ModelForm, change: bool) -> None:
        """Through the one function that takes over what was spent already and knows when a limit was lowered."""
        saved = budgets.set_limit(obj.scope, obj.scope_id, obj.limit_usd)
        if saved.time_zone != obj.time_zone:
            saved.time_zone = obj.time_zone
            saved.save(update_fields=["time_zone", "updated_at"])
        obj.pk, obj._state.adding = saved.pk, False
        details = {"limit_usd": None if obj.limit_usd is None else str(obj.limit_usd), "time_zone": obj.time_zone}
        self.note(request, "budget.set", saved, details)

    @admin.display(description="whose")
    def whose(self, budget: Budget) -> Any:
        if budget.scope_id is None:
            return "everybody together"
        words = getattr(budget, "owner_name", None) or f"{budget.scope} {budget.scope_id}"
        try:
            return format_html(
                '<a class="office-link" href="{}">{}</a>', reverse(PAGES[Budget.Scope(budget.scope)], args=[budget.scope_id]), words
            )
        except NoReverseMatch:
            return words

    @admin.display(description="spent this month", ordering="spent_number")
    def spent(self, budget: Budget) -> str:
        return columns.dollars(_of(budget, "month_spent"))

    @admin.display(description="held now")
    def held(self, budget: Budget) -> str:
        return columns.dollars(_of(budget, "month_held"))

    @admin.display(description="left")
    def left(self, budget: Budget) -> str:
        if budget.limit_usd is None:
            return "no limit"
        return columns.dollars(budget.limit_usd - _of(budget, "month_spent") - _of(budget, "month_held"))

    @admin.display(description="used", ordering="used_share")
    def used(self, budget: Budget) -> str:
        share: float | None = budget.used_share  # type: ignore[attr-defined]
        return columns.EMPTY if share is None else f"{share:.0%}"

    spent.raw = lambda budget: _of(budget, "month_spent")  # type: ignore[attr-defined]
    held.raw = lambda budget: _of(budget, "month_held")  # type: ignore[attr-defined]


PRICE = columns.json("price", "rates that were applied")


@admin.register(UsageLog)
class UsageLogAdmin(ReadOnly):
    """The books. Nobody adds, changes or deletes a line."""

    list_display = [
        "created_at", columns.link("user", show="user__email"), "model", columns.state("status"), "purpose", "surface",
        columns.number("input_tokens", "input"), columns.number("output_tokens", "output"), columns.money("cost_usd", "cost"),
        columns.millis("latency_ms", "time"), columns.text("flagged"), "simulated",
    ]  # fmt: skip
    # Ordered by its index only: any other order would sort the whole log.
    sortable_by = ["created_at"]
    list_filter = [
        "status",
        filters.one_of("provider", AIModel.Provider.choices),
        filters.one_of("model", slugs),
        filters.one_of("purpose", [(name, name) for name in PURPOSES]),
        filters.one_of("surface", [(name, name) for name in SURFACES]),
        filters.cases("flag", "flagged", [("yes", "flagged", ~Q(flagged="")), ("estimated", "estimated", Q(estimated=True))]),
        "simulated",
        "created_at",
    ]
    search_ids = ("call_id", "group_id", "message_id", "conversation_id", "api_key_id", "agent_id", "task_id")
    search_exact = ("model", "request_id", "error_code")
    search_people = ("user",)
    list_select_related = ["user"]
    ordering = ["-created_at"]
    export_also = (
        "call_id", "group_id", "provider", "requested_model", "goal", "attempt", "cached_input_tokens", "cache_write_tokens",
        "reasoning_tokens",
        "baseline_cost_usd", "overrun_usd", "estimated", "finish_reason", "error_code", "ttft_ms", "api_key_id", "agent_id", "task_id",
        "conversation_id", "request_id",
    )  # fmt: skip
    fieldsets = [
        (None, {"fields": ["created_at", "user", ("purpose", "surface"), ("status", "finish_reason", "error_code")]}),
        ("Model", {"fields": [("requested_model", "model"), ("provider", "goal"), "attempt", "simulated"]}),
        ("Used", {"fields": [
            ("input_tokens", "cached_input_tokens", "cache_write_tokens"), ("output_tokens", "reasoning_tokens"), ("latency_ms", "ttft_ms"),
        ]}),
        ("Cost", {"fields": [
            ("cost_usd", "baseline_cost_usd", "overrun_usd"), PRICE, ("estimated", "flagged"),
        ]}),
        ("Belongs to", {"fields": [
            "call_id", "group_id", "request_id", "api_key_id", "agent_id", "task_id", ("conversation_id", "message_id"),
        ]}),
    ]  # fmt: skip
    readonly_fields = [PRICE]


@admin.register(Hold)
class HoldAdmin(ReadOnly):
    list_display = [
        "id", columns.state("status"), columns.money("amount_usd", "amount"), columns.number("input_tokens_estimate", "input"),
        columns.number("output_tokens_seen", "output seen"), "created_at", "heartbeat_at", "closed_at",
    ]  # fmt: skip
    list_filter = ["status", "created_at"]
    ordering = ["-id"]
    fields = [
        "id", "status", "amount_usd", "input_tokens_estimate", "output_tokens_seen", "created_at", "heartbeat_at", "closed_at", "windows",
        columns.json("call"),
    ]  # fmt: skip
    readonly_fields = [fields[-1]]
