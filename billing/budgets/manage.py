"""Budgets as people see and set them: with their running month, and with the name of what they are for."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import administration, audit
from aiagents.core.errors import InvalidRequest, NotFound
from aiagents.core.jsonio import money
from billing.budgets import budgets, near_limit, subjects
from billing.models import Budget, BudgetWindow

if TYPE_CHECKING:
    from accounts.models import User

# What a user may limit: their own spending is limited by staff.
OWN = (Budget.Scope.KEY, Budget.Scope.AGENT, Budget.Scope.TASK)


def of_user(user: User) -> QuerySet[Budget]:
    """The user's own budget, and those of their keys, agents and tasks."""
    mine = Q(scope=Budget.Scope.USER, scope_id=user.pk)
    for scope in OWN:
        if scope in subjects.scopes():
            mine |= Q(scope=scope, scope_id__in=subjects.owned(scope, user.pk))
    return Budget.objects.filter(mine)


def put(scope: str, scope_id: UUID | None, limit: Decimal | None, *, actor: User, ip: str = "", zone: str | None = None) -> Budget:
    """Set a limit as staff; None counts without limiting. Audited.

    `NotFound` for what does not exist, `PermissionDenied` for one's own budget, which only superusers set themselves.
    """
    if (scope == Budget.Scope.SYSTEM) != (scope_id is None):
        raise InvalidRequest("The system's budget has no scope_id; every other one needs it.", param="scope_id")
    if scope_id is not None and not _exists(scope, Q(pk=scope_id)):
        raise NotFound(f"There is no such {scope}.", param="scope_id")
    if scope == Budget.Scope.USER:
        administration.refuse_own_budget(scope_id, actor)
    return _put(scope, scope_id, limit, actor, ip, zone)


def put_own(scope: str, scope_id: UUID, limit: Decimal | None, *, actor: User, ip: str = "") -> Budget:
    """The same for a key, agent or task of one's own; of anybody else's there is none."""
    if scope not in subjects.scopes() or not subjects.owned(scope, actor.pk).filter(pk=scope_id).exists():
        raise NotFound(f"You have no such {scope}.", param="scope_id")
    return _put(scope, scope_id, limit, actor, ip, None)


def with_month(rows: Iterable[Budget]) -> list[Budget]:
    """The budgets with `month` (BudgetWindow or None) and `label`: two queries and one per scope, however many they are."""
    found, now = list(rows), budgets.database_now()
    windows = BudgetWindow.objects.filter(budget__in=found, starts_at__lte=now, ends_at__gt=now)
    months = {window.budget_id: window for window in windows}
    names = near_limit.names_of(found)
    for row in found:
        extra: Any = row
        extra.month, extra.label = months.get(row.pk), names[row.pk]
    return found


def _put(scope: str, scope_id: UUID | None, limit: Decimal | None, actor: User, ip: str, zone: str | None) -> Budget:
    with transaction.atomic():
        budget = budgets.set_limit(scope, scope_id, limit)
        if zone is not None and zone != budget.time_zone:
            budget.time_zone = zone  # the running month ends as it began
            budget.save(update_fields=["time_zone", "updated_at"])
        details = {"scope": scope, "scope_id": str(scope_id or ""), "limit_usd": None if limit is None else money(limit)}
        audit.record("budget.set", actor=actor, target=budget, ip=ip, details=details | ({"time_zone": zone} if zone else {}))
    return budget


def _exists(scope: str, where: Q) -> bool:
    return scope in subjects.scopes() and subjects.living(scope).filter(where).exists()
