"""Models with their prices. A price that calls may have been charged by never changes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import TabularInline

from aiagents.core.admin import columns
from aiagents.core.admin.read_only import ReadOnly
from aiagents.core.admin.rows import Rows
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel, ModelPrice, UnpricedUsage

RATES = (
    "input",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "output",
    "tier_threshold",
    "tier_input",
    "tier_cached_input",
    "tier_cache_write",
    "tier_cache_write_1h",
    "tier_output",
)


class PriceFormSet(BaseInlineFormSet):
    """The prices that are entered with a model. A new self-hosted model needs a price or must be free."""

    def clean(self) -> None:
        super().clean()
        given = any(form.has_changed() for form in self.extra_forms)
        free = bool(self.data.get("free"))
        if free and given:
            raise forms.ValidationError("A free model cannot have a price. Untick \u201cfree of charge\u201d, or remove the price.")
        if self.instance._state.adding and self.instance.provider == AIModel.Provider.OPENAI_COMPATIBLE and not (free or given):
            raise forms.ValidationError("A self-hosted model needs a price. Enter a price, or tick \u201cfree of charge\u201d.")


class ModelForm(forms.ModelForm):
    """A model, with a checkbox that enters a price of 0."""

    free = forms.BooleanField(
        label="Free of charge", required=False, help_text="enters a price of 0; else give a price below (USD per million tokens)"
    )


class PriceInline(TabularInline):
    """A price that calls may have been charged by is never edited: a new price is a new row with its start."""

    model = ModelPrice
    formset = PriceFormSet
    extra = 0
    hide_title = True
    fields = ["effective_from", *RATES, "media", "units", "modes", "source"]
    readonly_fields = ["source"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AIModel)
class AIModelAdmin(Rows):
    form = ModelForm
    list_display = [
        "slug", "display_name", "provider", columns.state("lifecycle"), "enabled", "quality", columns.number("context_window", "context"),
        "price",
    ]  # fmt: skip
    list_filter = ["provider", "lifecycle", "enabled", "vision", "tools", "reasoning"]
    search_contains = ("slug", "display_name", "vendor_model")
    ordering = ["provider", "slug"]
    inlines = [PriceInline]
    actions: list[Any] = ["switch_on", "switch_off"]
    readonly_fields = ["created_at", "updated_at", "votes_up", "votes_down", "votes_points", "votes_counted_at"]
    fieldsets = [
        (None, {"fields": [("slug", "display_name"), ("provider", "connection"), ("vendor_model", "endpoint"), "description"]}),
        ("State", {"fields": ["enabled", ("lifecycle", "replaced_by")]}),
        ("What it costs", {"fields": ["free"]}),
        ("What it can do", {"fields": [
            ("context_window", "max_output_tokens"), ("vision", "files", "tools"), ("json", "reasoning", "temperature"),
            ("embeddings", "dimensions"),
        ]}),
        ("What the router assumes until it has measured", {"fields": [("quality", "tokens_per_second", "ttft_ms")]}),
        ("What people think of its answers", {"fields": [("votes_up", "votes_down"), ("votes_points", "votes_counted_at")]}),
        ("Times", {"fields": [("created_at", "updated_at")]}),
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[AIModel]:
        prices = ModelPrice.objects.filter(effective_from__lte=timezone.now()).order_by("-effective_from")
        return super().get_queryset(request).prefetch_related(Prefetch("prices", prices, to_attr="past_prices"))

    def get_readonly_fields(self, request: HttpRequest, obj: AIModel | None = None) -> list[str]:
        # Usage log and preferences contain the slug; a new one would disconnect them.
        return [*self.readonly_fields, "slug"] if obj else [*self.readonly_fields]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # the usage log names it; disable it instead

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
        added = list(formset.new_objects)
        if form.cleaned_data.get("free"):
            added.append(ModelPrice.objects.create(model=form.instance, input=0, output=0))
        for price in added:
            details = {"input": str(price.input), "output": str(price.output), "from": price.effective_from.isoformat()}
            self.note(request, "model.price", form.instance, details)


@admin.register(ModelPrice)
class ModelPriceAdmin(ReadOnly):
    """All prices, past ones included. Staff enter a new one on the page of its model."""

    list_display = [
        columns.link("model", show="model__slug"), "effective_from",
        *(columns.rate(name) for name in ("input", "cached_input", "cache_write", "output")),
        columns.number("tier_threshold"), columns.rate("tier_input"), columns.rate("tier_output"), "source",
    ]  # fmt: skip
    list_filter = ["source", "effective_from"]
    search_contains = ("model__slug", "model__display_name")
    list_select_related = ["model"]
    ordering = ["-effective_from"]


@admin.register(UnpricedUsage)
class UnpricedUsageAdmin(ReadOnly):
    """Usage that was charged at the ceiling. A price for its name, entered with the model, lifts the block of its fields."""

    list_display = ["name", "model", "provider", "open", "blocked", columns.number("calls"), "first_at", "last_at"]
    list_filter = ["provider", "last_at"]
    search_contains = ("name", "model")
    ordering = ["-last_at"]
    fields = ["name", "model", "provider", "open", "blocked", "calls", "last_call_id", "first_at", "last_at"]
    readonly_fields = ["open", "blocked"]

    @admin.display(description="without a price", boolean=True)
    def open(self, row: UnpricedUsage) -> bool:
        return not catalogue.has_price(catalogue.current_sync().cards.get(row.model), row.name)

    @admin.display(description="blocked fields")
    def blocked(self, row: UnpricedUsage) -> str:
        return ", ".join(row.fields) if self.open(row) else ""
