"""Changes that admins make to users, and the rules that keep at least one active admin."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts import audit, hooks
from accounts.models import User
from aiagents.core.errors import Conflict, NotFound, PermissionDenied
from aiagents.core.jsonio import money

GUARDED_FIELDS = ("role", "is_active")


def change(user_id: UUID, wanted: Mapping[str, Any], *, actor: User, ip: str = "") -> User:
    """Set the given ones of `role`, `is_active` and `monthly_budget_usd` in one audited transaction; return the user.

    Raises Conflict for the actor's own role or state, and for the last active admin: of two admins who demote each
    other at the same time, the second is refused. Raises PermissionDenied for the actor's own budget.
    """
    if "monthly_budget_usd" in wanted:
        refuse_own_budget(user_id, actor)
    with transaction.atomic():
        # Lock every admin's row in one order: a concurrent change then sees this one's result.
        admins = {admin.pk: admin for admin in User.objects.select_for_update().filter(role=User.Role.ADMIN).order_by("pk")}
        user = admins.get(user_id) or User.objects.select_for_update().filter(pk=user_id).first()
        if user is None:
            raise NotFound
        changes = {name: wanted[name] for name in GUARDED_FIELDS if name in wanted and wanted[name] != getattr(user, name)}
        if changes:
            _refuse(user, changes, actor, sum(admin.is_active for admin in admins.values()))
        recorded: dict[str, Any] = {name: [getattr(user, name), value] for name, value in changes.items()}
        for name, value in changes.items():
            setattr(user, name, value)
        if changes.get("role") == User.Role.USER and (user.is_staff or user.is_superuser):
            recorded |= {"is_staff": [user.is_staff, False], "is_superuser": [user.is_superuser, False]}
            # Otherwise a user who is no longer an admin could still open the admin's pages.
            user.is_staff = user.is_superuser = False
        if recorded:
            user.save(update_fields=[*recorded])
        if "monthly_budget_usd" in wanted:
            limit: Decimal | None = wanted["monthly_budget_usd"]
            hooks.set_user_budget(user.pk, limit)
            recorded["monthly_budget_usd"] = None if limit is None else money(limit)
        if recorded:
            audit.record("user.update", actor=actor, target=user, ip=ip, details={"changes": recorded})
    return user


def refuse_own_budget(user_id: UUID | None, actor: User) -> None:
    """Raise PermissionDenied when staff set the budget of their own account. Superusers may do so."""
    if user_id == actor.pk and not actor.is_superuser:
        raise PermissionDenied("You cannot set your own budget; another member of staff can.", code="own_budget")


def _refuse(user: User, changes: Mapping[str, Any], actor: User, active_admins: int) -> None:
    if user.is_superuser and not actor.is_superuser:
        raise PermissionDenied("Only superusers can change a superuser.", code="superuser")
    ends_admin = user.is_admin and (changes.get("role", user.role) != User.Role.ADMIN or not changes.get("is_active", True))
    if not ends_admin:
        return
    if user.pk == actor.pk:
        raise Conflict("You cannot take your own admin role or disable yourself; another admin can.", code="own_account")
    if active_admins <= 1:
        raise Conflict("This is the last active admin; make another one first.", code="last_admin")
