"""Budgets: their limits, their monthly windows, and the spending of the current month."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from billing.models import Budget, BudgetWindow, Hold, UsageLog
from billing.money.exact_sums import exact_sum

if TYPE_CHECKING:
    from accounts.models import User
    from billing.ledger.charging import Call

Scope = Budget.Scope
# The order in which every statement locks the windows of a call. All calls share the system's, so it is locked last.
RANKS = {Scope.USER: 1, Scope.KEY: 2, Scope.AGENT: 3, Scope.TASK: 4, Scope.SYSTEM: 9}
# The column of UsageLog, and the key of Hold.call, that holds the id of each scope.
COLUMNS = {Scope.USER: "user_id", Scope.KEY: "api_key_id", Scope.AGENT: "agent_id", Scope.TASK: "task_id"}


def database_now() -> datetime:
    """Return the time of the database's clock, which decides months and expiry; on SQLite, of this machine's clock."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        return cursor.fetchone()[0]


def set_limit(scope: str, scope_id: UUID | None, limit: Decimal | None) -> Budget:
    """Set a monthly limit in USD and return the budget; None: no limit. The limit applies from the next hold on.

    A new budget includes what its scope has already spent and holds in the current month.
    """
    with transaction.atomic():
        budget = Budget.objects.select_for_update().filter(scope=scope, scope_id=scope_id).first()
        if budget is None:
            return create(scope, scope_id, limit)
        if limit is not None and (budget.limit_usd is None or limit < budget.limit_usd):
            budget.lowered_at = database_now()
        budget.limit_usd = limit
        budget.save(update_fields=["limit_usd", "lowered_at", "updated_at"])
    return budget


def create(scope: str, scope_id: UUID | None, limit: Decimal | None) -> Budget:
    """Create a budget and return it, or return the one that another process created meanwhile."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # No hold or settlement may run while their sums are copied: one that began before would be missing.
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE billing_budgetwindow IN EXCLUSIVE MODE")
        now = database_now()
        values = {"limit_usd": limit, "time_zone": settings.BUDGET_TIME_ZONE, "lowered_at": now}
        budget, new = Budget.objects.get_or_create(scope=scope, scope_id=scope_id, defaults=values)
        if new:
            _adopt(budget, open_window(budget, now))
    return budget


def ensure(call: Call) -> None:
    """Create the rows that a hold needs: the system's and the user's budget, and the windows of this month."""
    _ensure_budget(Scope.SYSTEM, None, settings.MONTHLY_COST_LIMIT)
    _ensure_budget(Scope.USER, call.user_id, settings.NEW_USER_MONTHLY_LIMIT)
    now = database_now()
    for budget in Budget.objects.filter(of_call(call)):
        open_window(budget, now)


def open_window(budget: Budget, now: datetime) -> BudgetWindow:
    """Return the budget's window that contains `now`; create it when it is missing. Windows never overlap."""
    current = budget.windows.filter(starts_at__lte=now, ends_at__gt=now).first()
    if current is not None:
        return current
    last = budget.windows.filter(ends_at__lte=now).order_by("-ends_at").first()
    starts_at, ends_at = month(budget.time_zone, now, after=last.ends_at if last else None)
    return BudgetWindow.objects.get_or_create(budget=budget, starts_at=starts_at, defaults={"ends_at": ends_at})[0]


def month(zone: str, now: datetime, after: datetime | None = None) -> tuple[datetime, datetime]:
    """Return the start and the end, in UTC, of the month around `now` in `zone`; it starts no earlier than `after`.

    After a change of zone only some hours of the old month may remain. They become part of the next window.
    """
    local = now.astimezone(ZoneInfo(zone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    starts_at, ends_at = first.astimezone(UTC), _next(first).astimezone(UTC)
    if after is not None and after > starts_at:
        starts_at = after
        if ends_at - starts_at < timedelta(days=2):
            ends_at = _next(_next(first)).astimezone(UTC)
    return starts_at, ends_at


@dataclass(frozen=True, slots=True)
class Month:
    """The current month of a budget, in USD. `limit_usd` None: no limit, and so no `left_usd`."""

    spent_usd: Decimal
    held_usd: Decimal
    limit_usd: Decimal | None
    left_usd: Decimal | None
    starts_at: datetime
    ends_at: datetime
    time_zone: str


def month_to_date(user: User) -> Month:
    """Return the user's current month."""
    return month_of_scope(Scope.USER, user.pk)


def month_of_scope(scope: str, scope_id: UUID | None) -> Month:
    """Return the same for any scope. When the budget does not exist yet, the limit is the one it will start with."""
    now = database_now()
    budget = Budget.objects.filter(scope=scope, scope_id=scope_id).first()
    first_limit = {Scope.USER: settings.NEW_USER_MONTHLY_LIMIT, Scope.SYSTEM: settings.MONTHLY_COST_LIMIT}
    zone = budget.time_zone if budget else settings.BUDGET_TIME_ZONE
    limit = budget.limit_usd if budget else first_limit.get(Scope(scope))
    window = budget.windows.filter(starts_at__lte=now, ends_at__gt=now).first() if budget else None
    starts_at, ends_at = (window.starts_at, window.ends_at) if window else month(zone, now)
    spent, held = (window.spent_usd, window.held_usd) if window else (Decimal(0), Decimal(0))
    return Month(
        spent_usd=spent,
        held_usd=held,
        limit_usd=limit,
        left_usd=None if limit is None else max(Decimal(0), limit - spent - held),
        starts_at=starts_at,
        ends_at=ends_at,
        time_zone=zone,
    )


def user_created(user: User) -> None:
    """Create the budget of a new user. A new user has spent nothing, so there are no sums to copy."""
    values = {"limit_usd": settings.NEW_USER_MONTHLY_LIMIT, "time_zone": settings.BUDGET_TIME_ZONE}
    Budget.objects.get_or_create(scope=Scope.USER, scope_id=user.pk, defaults=values)


def set_key_budget(key_id: UUID, limit: Decimal | None) -> None:
    """Set the monthly limit of an API key; None removes the limit (an existing budget goes on counting)."""
    if limit is not None or Budget.objects.filter(scope=Scope.KEY, scope_id=key_id).exists():
        set_limit(Scope.KEY, key_id, limit)


def key_budgets(ids: Iterable[UUID]) -> Mapping[UUID, Decimal | None]:
    """Return the limits (USD) of those keys that have one, by key id."""
    rows = Budget.objects.filter(scope=Scope.KEY, scope_id__in=list(ids)).exclude(limit_usd=None)
    return {scope_id: limit for scope_id, limit in rows.values_list("scope_id", "limit_usd") if scope_id is not None}


def of_call(call: Call) -> Q:
    """Return the condition that selects the budgets of a call."""
    found = Q(scope=Scope.SYSTEM, scope_id=None)
    for scope, column in COLUMNS.items():
        if (scope_id := getattr(call, column)) is not None:
            found |= Q(scope=scope, scope_id=scope_id)
    return found


def usage_of(budget: Budget) -> QuerySet[UsageLog]:
    """Return the UsageLog rows of a budget's scope."""
    return UsageLog.objects.filter(**_where(budget, ""))


def open_holds_of(budget: Budget) -> QuerySet[Hold]:
    """Return the open holds of a budget's scope."""
    return Hold.objects.filter(status=Hold.Status.OPEN, **_where(budget, "call__"))


def _where(budget: Budget, prefix: str) -> dict[str, Any]:
    if budget.scope == Scope.SYSTEM:
        return {}
    return {prefix + COLUMNS[Scope(budget.scope)]: str(budget.scope_id)}


def _ensure_budget(scope: str, scope_id: UUID | None, limit: Decimal | None) -> None:
    if not Budget.objects.filter(scope=scope, scope_id=scope_id).exists():
        create(scope, scope_id, limit)


def _adopt(budget: Budget, window: BudgetWindow) -> None:
    """Add what the scope spent and holds from before the budget existed; those holds will settle into it, too."""
    during = {"created_at__gte": window.starts_at, "created_at__lt": window.ends_at}
    spent = usage_of(budget).filter(**during).aggregate(total=exact_sum("cost_usd"))["total"]
    held = Decimal(0)
    for hold in open_holds_of(budget).filter(**during).select_for_update():
        scopes = dict(BudgetWindow.objects.filter(pk__in=hold.windows).values_list("pk", "budget__scope"))
        hold.windows = sorted([*scopes, window.pk], key=lambda pk: RANKS[Scope(scopes.get(pk, budget.scope))])
        hold.save(update_fields=["windows"])
        held += hold.amount_usd
    BudgetWindow.objects.filter(pk=window.pk).update(spent_usd=spent, held_usd=held)


def _next(first: datetime) -> datetime:
    return (first + timedelta(days=32)).replace(day=1)
