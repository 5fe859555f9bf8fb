"""Budgets: their limits, their months, and what has been spent in the running one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    from billing.charging import Call

Scope = Budget.Scope
# The order in which every statement locks the windows of a call; the system's, which all calls share, is held shortest.
RANKS = {Scope.USER: 1, Scope.KEY: 2, Scope.AGENT: 3, Scope.TASK: 4, Scope.SYSTEM: 9}
# UsageLog's column, and Hold.call's key, that name the scope.
COLUMNS = {Scope.USER: "user_id", Scope.KEY: "api_key_id", Scope.AGENT: "agent_id", Scope.TASK: "task_id"}


def database_now() -> datetime:
    """The database's clock, which decides months and expiry; on SQLite that is this machine's."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        return cursor.fetchone()[0]


def set_limit(scope: str, scope_id: UUID | None, limit: Decimal | None) -> Budget:
    """Set a monthly limit in USD; None counts without limiting. Effective with the next hold.

    A budget that is new counts what its scope has spent and holds in the running month already.
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
    """A budget that did not exist, or the one that another process made meanwhile."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # No hold or settlement may run while their sums are taken over: one that began before would not be counted.
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE billing_budgetwindow IN EXCLUSIVE MODE")
        now = database_now()
        values = {"limit_usd": limit, "time_zone": settings.BUDGET_TIME_ZONE, "lowered_at": now}
        budget, new = Budget.objects.get_or_create(scope=scope, scope_id=scope_id, defaults=values)
        if new:
            _adopt(budget, open_window(budget, now))
    return budget


def ensure(call: Call) -> None:
    """Make what a hold needs and did not find: the system's and the user's budget, and this month's windows."""
    _ensure_budget(Scope.SYSTEM, None, settings.MONTHLY_COST_LIMIT)
    _ensure_budget(Scope.USER, call.user_id, settings.NEW_USER_MONTHLY_LIMIT)
    now = database_now()
    for budget in Budget.objects.filter(of_call(call)):
        open_window(budget, now)


def open_window(budget: Budget, now: datetime) -> BudgetWindow:
    """The budget's window that contains `now`, made when it is missing. Windows never overlap."""
    current = budget.windows.filter(starts_at__lte=now, ends_at__gt=now).first()
    if current is not None:
        return current
    last = budget.windows.filter(ends_at__lte=now).order_by("-ends_at").first()
    starts_at, ends_at = month(budget.time_zone, now, after=last.ends_at if last else None)
    return BudgetWindow.objects.get_or_create(budget=budget, starts_at=starts_at, defaults={"ends_at": ends_at})[0]


def month(zone: str, now: datetime, after: datetime | None = None) -> tuple[datetime, datetime]:
    """First instant and end, in UTC, of the month around `now` in `zone`; it begins no earlier than `after`.

    After a change of zone the rest of the old month would be a window of hours: it is joined to the next one.
    """
    local = now.astimezone(ZoneInfo(zone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    starts_at, ends_at = first.astimezone(UTC), _next(first).astimezone(UTC)
    if after is not None and after > starts_at:
        starts_at = after
        if ends_at - starts_at < timedelta(days=2):
            ends_at = _next(_next(first)).astimezone(UTC)
    return starts_at, ends_at


def month_to_date(user: User) -> dict[str, Any]:
    """The user's running month: `spent_usd`, `held_usd`, `limit_usd` (None: none), `left_usd`, and its bounds."""
    return month_of_scope(Scope.USER, user.pk)


def month_of_scope(scope: str, scope_id: UUID | None) -> dict[str, Any]:
    """The same of any scope; without a budget yet, the limit that it will begin with."""
    now = database_now()
    budget = Budget.objects.filter(scope=scope, scope_id=scope_id).first()
    first_limit = {Scope.USER: settings.NEW_USER_MONTHLY_LIMIT, Scope.SYSTEM: settings.MONTHLY_COST_LIMIT}
    zone = budget.time_zone if budget else settings.BUDGET_TIME_ZONE
    limit = budget.limit_usd if budget else first_limit.get(Scope(scope))
    window = budget.windows.filter(starts_at__lte=now, ends_at__gt=now).first() if budget else None
    starts_at, ends_at = (window.starts_at, window.ends_at) if window else month(zone, now)
    spent, held = (window.spent_usd, window.held_usd) if window else (Decimal(0), Decimal(0))
    return {
        "spent_usd": spent,
        "held_usd": held,
        "limit_usd": limit,
        "left_usd": None if limit is None else max(Decimal(0), limit - spent - held),
        "starts_at": starts_at,
        "ends_at": ends_at,
        "time_zone": zone,
    }


def user_created(user: User) -> None:
    """A new user's budget; nothing can be spent yet, so nothing is taken over."""
    values = {"limit_usd": settings.NEW_USER_MONTHLY_LIMIT, "time_zone": settings.BUDGET_TIME_ZONE}
    Budget.objects.get_or_create(scope=Scope.USER, scope_id=user.pk, defaults=values)


def set_key_budget(key_id: UUID, limit: Decimal | None) -> None:
    """The monthly limit of an API key; None takes it away (its spending is still counted where it was)."""
    if limit is not None or Budget.objects.filter(scope=Scope.KEY, scope_id=key_id).exists():
        set_limit(Scope.KEY, key_id, limit)


def key_budgets(ids: Iterable[UUID]) -> Mapping[UUID, Decimal | None]:
    """Limits of those of the keys that have one."""
    rows = Budget.objects.filter(scope=Scope.KEY, scope_id__in=list(ids)).exclude(limit_usd=None)
    return {scope_id: limit for scope_id, limit in rows.values_list("scope_id", "limit_usd") if scope_id is not None}


def of_call(call: Call) -> Q:
    """Which budgets apply to a call."""
    found = Q(scope=Scope.SYSTEM, scope_id=None)
    for scope, column in COLUMNS.items():
        if (scope_id := getattr(call, column)) is not None:
            found |= Q(scope=scope, scope_id=scope_id)
    return found


def usage_of(budget: Budget) -> QuerySet[UsageLog]:
    """The UsageLog rows of a budget's scope."""
    return UsageLog.objects.filter(**_where(budget, ""))


def open_holds_of(budget: Budget) -> QuerySet[Hold]:
    """The open holds of a budget's scope."""
    return Hold.objects.filter(status=Hold.Status.OPEN, **_where(budget, "call__"))


def _where(budget: Budget, prefix: str) -> dict[str, Any]:
    if budget.scope == Scope.SYSTEM:
        return {}
    return {prefix + COLUMNS[Scope(budget.scope)]: str(budget.scope_id)}


def _ensure_budget(scope: str, scope_id: UUID | None, limit: Decimal | None) -> None:
    if not Budget.objects.filter(scope=scope, scope_id=scope_id).exists():
        create(scope, scope_id, limit)


def _adopt(budget: Budget, window: BudgetWindow) -> None:
    """Count what was spent and is held before the budget existed; those holds will settle into it, too."""
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
