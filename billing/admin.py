"""Models with their prices, budgets with their month, and the books, which staff only read."""

from __future__ import annotations

import zoneinfo
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline

from accounts import audit
from accounts.admin import ReadOnly, staff
from accounts.models import User
from billing import budgets
from billing.models import AIModel, Budget, BudgetWindow, Hold, ModelPrice, UsageLog


class PriceInline(TabularInline):
    """A price that may have been charged is never edited: a new one is a new row, from a moment on."""

    model = ModelPrice
    extra = 0
    fields = [
        "effective_from", "input", "cached_input", "cache_write", "output",
        "tier_threshold", "tier_input", "tier_cached_input", "tier_cache_write", "tier_output", "source",
    ]  # fmt: skip
    readonly_fields = ["source"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AIModel)
class AIModelAdmin(ModelAdmin):
    list_display = ["slug", "display_name", "provider", "lifecycle", "enabled", "quality", "context_window", "price"]
    list_filter = ["provider", "lifecycle", "enabled", "vision", "tools", "reasoning"]
    search_fields = ["slug", "display_name", "vendor_model"]
    ordering = ["provider", "slug"]
    inlines = [PriceInline]
    actions = ["switch_on", "switch_off"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AIModel]:
        prices = ModelPrice.objects.filter(effective_from__lte=timezone.now()).order_by("-effective_from")
        return super().get_queryset(request).prefetch_related(Prefetch("prices", prices, to_attr="past_prices"))

    def get_readonly_fields(self, request: HttpRequest, obj: AIModel | None = None) -> list[str]:
        # The slug stands in usage logs and preferences; renaming it would cut them off.
        return ["slug"] if obj else []

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
        for model in queryset:
            model.enabled = enabled
            model.save(update_fields=["enabled", "updated_at"])
            audit.record("model.enable" if enabled else "model.disable", actor=staff(request), target=model)

    def save_model(self, request: HttpRequest, obj: AIModel, form: forms.ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record("model.update" if change else "model.create", actor=staff(request), target=obj, details={"fields": form.changed_data})

    def save_formset(self, request: HttpRequest, form: forms.ModelForm, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        for price in formset.new_objects:
            details = {"input": str(price.input), "output": str(price.output), "from": price.effective_from.isoformat()}
            audit.record("model.price", actor=staff(request), target=form.instance, details=details)


class BudgetForm(forms.ModelForm):
    time_zone = forms.ChoiceField(
        choices=lambda: [(name, name) for name in sorted(zoneinfo.available_timezones())],
        initial="UTC",
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


@admin.register(Budget)
class BudgetAdmin(ModelAdmin):
    form = BudgetForm
    list_display = ["scope", "whose", "limit_usd", "spent", "held", "left", "time_zone"]
    list_filter = ["scope"]
    search_fields = ["=scope_id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        now = timezone.now()
        current = BudgetWindow.objects.filter(starts_at__lte=now, ends_at__gt=now)
        return super().get_queryset(request).prefetch_related(Prefetch("windows", current, to_attr="current"))

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> list[str]:
        return ["scope", "scope_id", "spent", "held", "left"] if obj else []

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
        audit.record("budget.set", actor=staff(request), target=saved, details=details)

    @admin.display(description="whose")
    def whose(self, budget: Budget) -> str:
        if budget.scope == Budget.Scope.USER and budget.scope_id is not None:
            user = User.objects.filter(pk=budget.scope_id).only("email").first()
            return user.email if user else str(budget.scope_id)
        return str(budget.scope_id or "everybody")

    @admin.display(description="spent this month")
    def spent(self, budget: Budget) -> Decimal:
        return self._window(budget).spent_usd

    @admin.display(description="held now")
    def held(self, budget: Budget) -> Decimal:
        return self._window(budget).held_usd

    @admin.display(description="left", empty_value="no limit")
    def left(self, budget: Budget) -> Decimal | None:
        window = self._window(budget)
        return None if budget.limit_usd is None else budget.limit_usd - window.spent_usd - window.held_usd

    def _window(self, budget: Budget) -> BudgetWindow:
        return next(iter(getattr(budget, "current", ())), BudgetWindow())


@admin.register(UsageLog)
class UsageLogAdmin(ReadOnly):
    show_full_result_count = False
    list_display = ["created_at", "user", "model", "status", "purpose", "input_tokens", "output_tokens", "cost_usd", "flagged", "simulated"]
    list_filter = ["status", "provider", "purpose", "surface", "estimated", "simulated", "created_at"]
    search_fields = ["=call_id", "=group_id", "=request_id", "user__email", "=model"]
    list_select_related = ["user"]
    ordering = ["-created_at"]


@admin.register(Hold)
class HoldAdmin(ReadOnly):
    show_full_result_count = False
    list_display = ["id", "status", "amount_usd", "output_tokens_seen", "created_at", "heartbeat_at", "closed_at"]
    list_filter = ["status"]
    search_fields = ["=id"]
    ordering = ["-created_at"]
