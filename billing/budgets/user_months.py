"""The current month of many users, for lists: one query for any number of users."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db.models import Case, Exists, FloatField, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from billing.budgets import budgets
from billing.models import Budget, BudgetWindow

if TYPE_CHECKING:
    from accounts.models import User


def with_month(users: QuerySet[User]) -> QuerySet[User]:
    """Annotate users with `month_spent`, `month_held` and `month_limit` (USD), and with `spent` to sort by."""
    now = timezone.now()
    budget = Budget.objects.filter(scope=Budget.Scope.USER, scope_id=OuterRef("pk"))
    window = BudgetWindow.objects.filter(
        budget__scope=Budget.Scope.USER, budget__scope_id=OuterRef("pk"), starts_at__lte=now, ends_at__gt=now
    )
    limit = Budget._meta.get_field("limit_usd")
    return users.annotate(
        month_spent=Subquery(window.values("spent_usd")[:1]),
        month_held=Subquery(window.values("held_usd")[:1]),
        # A budget without a limit is unlimited; a user without a budget has the default limit.
        month_limit=Case(
            When(Exists(budget), then=Subquery(budget.values("limit_usd")[:1])),
            default=Value(settings.NEW_USER_MONTHLY_LIMIT, output_field=limit),
            output_field=limit,
        ),
        # SQLite stores money as text and would sort 10 before 9.
        spent=Coalesce(Cast(Subquery(window.values("spent_usd")[:1]), FloatField()), 0.0),
    )


def set_user_budget(user_id: UUID, limit: Decimal | None) -> None:
    """Set the user's monthly limit in USD; None: no limit. The limit applies from the next hold on."""
    budgets.set_limit(Budget.Scope.USER, user_id, limit)
