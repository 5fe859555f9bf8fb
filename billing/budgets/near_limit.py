"""Budgets that have used a given percentage of their limit in the current month."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypedDict

from django.db import connection
from django.db.models import F

from aiagents.core.drf.typed_dicts import Id
from aiagents.core.jsonio import money
from billing.budgets import budgets, subjects
from billing.models import Budget, BudgetWindow

# The percentage from which staff see a budget as near its limit.
NEAR = 80


class Near(TypedDict):
    """A budget that is near its limit, as JSON: USD as decimal strings."""

    scope: str
    scope_id: Id | None
    label: str
    spent_usd: str
    limit_usd: str
    used_percent: int


def windows(percent: int, now: datetime | None = None) -> list[BudgetWindow]:
    """Return the current windows, with `budget`, that spent at least `percent` of their limit; the fullest first."""
    now = now or budgets.database_now()
    rows = BudgetWindow.objects.filter(starts_at__lte=now, ends_at__gt=now, budget__limit_usd__gt=0).select_related("budget")
    if connection.vendor == "postgresql":
        # One percent less, because percentages are rounded. On SQLite money is text, which SQL cannot compare.
        rows = rows.filter(spent_usd__gte=F("budget__limit_usd") * (Decimal(percent) - 1) / 100)
    found = [window for window in rows.order_by() if used_percent(window) >= percent]
    return sorted(found, key=lambda window: -(window.spent_usd / (window.budget.limit_usd or 1)))


def used_percent(window: BudgetWindow) -> int:
    """Return the spent percentage of the limit, rounded to a whole number: no call fits into the last half percent."""
    return percent_of(window.spent_usd, window.budget.limit_usd)


def percent_of(spent: Decimal, limit: Decimal | None) -> int:
    return int((spent * 100 / limit).quantize(Decimal(1), ROUND_HALF_UP)) if limit else 0


def shown(most: int, percent: int = NEAR) -> list[Near]:
    """Return the fullest windows as JSON, at most `most`."""
    fullest = windows(percent)[:most]
    names = names_of([window.budget for window in fullest])
    return [
        {
            "scope": window.budget.scope,
            "scope_id": None if window.budget.scope_id is None else str(window.budget.scope_id),
            "label": names[window.budget.pk],
            "spent_usd": money(window.spent_usd),
            "limit_usd": money(window.budget.limit_usd or Decimal(0)),
            "used_percent": used_percent(window),
        }
        for window in fullest
    ]


def names_of(rows: list[Budget]) -> dict[Any, str]:
    """Return display names of the budgets, by budget id."""
    found: dict[Any, str] = {}
    for scope in Budget.Scope.values:
        mine = [row for row in rows if row.scope == scope]
        known = subjects.named(scope, [row.scope_id for row in mine if row.scope_id is not None])
        for row in mine:
            subject = known.get(row.scope_id) if row.scope_id is not None else None
            found[row.pk] = "all users" if scope == Budget.Scope.SYSTEM else subject.name if subject else str(row.scope_id)
    return found
