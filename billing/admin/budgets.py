"""Budgets with their monthly windows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Case, CharField, F, FloatField, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Cast, Coalesce
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminSelect2Widget

from accounts import administration
from accounts.admin.acting import staff
from aiagents.core.admin import columns, filters
from aiagents.core.admin.inlines import ReadOnlyInline
from aiagents.core.admin.rows import Rows
from aiagents.core.time_zones import time_zones
from billing.budgets import budgets, subjects
from billing.models import Budget, BudgetWindow

PAGES = {
    Budget.Scope.USER: "admin:accounts_user_change",
    Budget.Scope.KEY: "admin:accounts_apikey_change",
    Budget.Scope.AGENT: "admin:agents_agent_change",
    Budget.Scope.TASK: "admin:tasks_task_change",
}


def _of(budget: Budget, name: str) -> Decimal:
    """Return an amount of the current month that the list's query annotated."""
    return getattr(budget, name, None) or Decimal(0)


class BudgetForm(forms.ModelForm):
    time_zone = forms.ChoiceField(
        choices=lambda: [(name, name) for name in sorted(time_zones())],
        initial="UTC",
        widget=UnfoldAdminSelect2Widget,
        help_text="A new zone applies from the next month on.",
    )

    class Meta:
        model = Budget
        fields = ["scope", "scope_id", "limit_usd", "time_zone"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (limit := self.initial.get("limit_usd")) is not None:
            self.initial["limit_usd"] = f"{limit.normalize():f}"

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        scope, scope_id = data.get("scope", self.instance.scope), data.get("scope_id", self.instance.scope_id)
        if (scope == Budget.Scope.SYSTEM) != (scope_id is None):
            raise forms.ValidationError("Enter a scope id, except for the scope system, where it must be empty.")
        return data


class WindowInline(ReadOnlyInline):
    """The months of a budget, newest first. Only the ledger writes them."""

    model = BudgetWindow
    verbose_name_plural = "months"
    fields = readonly_fields = ["starts_at", "ends_at", columns.money("spent_usd", "spent"), columns.money("held_usd", "held")]


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
        whens = [When(scope=scope, then=Subquery(subjects.name_of(scope, OuterRef("scope_id"))[:1])) for scope in sorted(subjects.scopes())]
        spent = Subquery(month.values("spent_usd")[:1])
        return (
            super()
            .get_queryset(request)
            .annotate(
                month_spent=spent,
                month_held=Subquery(month.values("held_usd")[:1]),
                owner_name=Case(*whens, output_field=CharField()),
                # For sorting: SQLite stores money as text and would sort 10 before 9.
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
        return False  # an empty limit removes the limit and keeps counting

    def save_model(self, request: HttpRequest, obj: Budget, form: forms.ModelForm, change: bool) -> None:
        """Save with `set_limit`, which copies earlier spending and records when a limit was lowered."""
        if obj.scope == Budget.Scope.USER:
            administration.refuse_own_budget(obj.scope_id, staff(request))
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
            return "all users"
        name = getattr(budget, "owner_name", None) or f"{budget.scope} {budget.scope_id}"
        try:
            return format_html(
                '<a class="office-link" href="{}">{}</a>', reverse(PAGES[Budget.Scope(budget.scope)], args=[budget.scope_id]), name
            )
        except NoReverseMatch:
            return name

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
        share: float | None = budget.used_share  # type: ignore[attr-defined]  # annotated by get_queryset
        return columns.EMPTY if share is None else f"{share:.0%}"

    spent.raw = lambda budget: _of(budget, "month_spent")  # type: ignore[attr-defined]  # our CSV reads this attribute of the function
    held.raw = lambda budget: _of(budget, "month_held")  # type: ignore[attr-defined]  # our CSV reads this attribute of the function
