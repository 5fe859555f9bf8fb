"""Show and set budgets: each with its current month and the name of its subject."""

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

# The scopes that a user may limit. Only staff limit a user's own spending.
OWN = (Budget.Scope.KEY, Budget.Scope.AGENT, Budget.Scope.TASK)


def of_user(user: User) -> QuerySet[Budget]:
    """Return the user's own budget, and those of their keys, agents and tasks."""
    mine = Q(scope=Budget.Scope.USER, scope_id=user.pk)
    for scope in OWN:
        if scope in subjects.scopes():
            mine |= Q(scope=scope, scope_id__in=subjects.owned(scope, user.pk))
    return Budget.objects.filter(mine)


def put(scope: str, scope_id: UUID | None, limit: Decimal | None, *, actor: User, ip: str = "", zone: str | None = None) -> Budget:
    """Set a limit in USD as staff (None: no limit), record it in the audit log, and return the budget.

    Raises NotFound for a subject that does not exist. Raises PermissionDenied for the actor's own budget, which only
    superusers may set.
    """
    if (scope == Budget.Scope.SYSTEM) != (scope_id is None):
        raise InvalidRequest("scope_id is required, except for the scope system, where it must be null.", param="scope_id")
    if scope_id is not None and not _exists(scope, Q(pk=scope_id)):
        raise NotFound(f"No {scope} has this id.", param="scope_id")
    if scope == Budget.Scope.USER:
        administration.refuse_own_budget(scope_id, actor)
    return _put(scope, scope_id, limit, actor, ip, zone)


def put_own(scope: str, scope_id: UUID, limit: Decimal | None, *, actor: User, ip: str = "") -> Budget:
    """Set the limit of a key, agent or task of the actor. Raises NotFound for one of another user."""
    if scope not in subjects.scopes() or not subjects.owned(scope, actor.pk).filter(pk=scope_id).exists():
        raise NotFound(f"You have no {scope} with this id.", param="scope_id")
    return _put(scope, scope_id, limit, actor, ip, None)


def with_month(rows: Iterable[Budget]) -> list[Budget]:
    """Return the budgets with `month` (BudgetWindow or None) and `label`; two queries and one per scope."""
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
            budget.time_zone = zone  # the current month keeps its zone
            budget.save(update_fields=["time_zone", "updated_at"])
        details = {"scope": scope, "scope_id": str(scope_id or ""), "limit_usd": None if limit is None else money(limit)}
        audit.record("budget.set", actor=actor, target=budget, ip=ip, details=details | ({"time_zone": zone} if zone else {}))
    return budget


def _exists(scope: str, where: Q) -> bool:
    return scope in subjects.scopes() and subjects.active(scope).filter(where).exists()
