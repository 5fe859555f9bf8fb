"""Hooks by which other apps extend accounts. `aiagents/wiring.py` registers them; accounts imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import DecimalField, QuerySet, Value

if TYPE_CHECKING:
    from accounts.models import User


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks. They run in the transaction that creates the user or the key, so an exception rolls both back."""

    # Set the key's monthly limit in USD; None removes it.
    set_key_budget: Callable[[UUID, Decimal | None], object]
    # Return the limits (USD) of those keys that have one.
    key_budgets: Callable[[Iterable[UUID]], Mapping[UUID, Decimal | None]]
    # Return the month's spending and budget for the profile: JSON with money as Decimal.
    profile_budget: Callable[[User], Mapping[str, Any]]
    # Called after a user was saved for the first time.
    user_created: Callable[[User], object]
    # Called after a user was deleted, outside of the transaction, for data beyond the database.
    user_deleted: Callable[[UUID], object]
    # Set the user's monthly limit in USD; None: no limit.
    set_user_budget: Callable[[UUID, Decimal | None], object]
    # Annotate users with `month_spent`, `month_held`, `month_limit` (Decimal or None), and with `spent` to sort by.
    with_month: Callable[[QuerySet[User]], QuerySet[User]]


def _refuse_budget(key_id: UUID, limit: Decimal | None) -> None:
    if limit is not None:
        raise RuntimeError("no app registered budgets: a key's limit would be ignored")


def _refuse_user_budget(user_id: UUID, limit: Decimal | None) -> None:
    raise RuntimeError("no app registered budgets: a user's limit would be ignored")


def _without_month(users: QuerySet[User]) -> QuerySet[User]:
    nothing = Value(None, output_field=DecimalField())
    return users.annotate(month_spent=nothing, month_held=nothing, month_limit=nothing, spent=Value(0.0))


registered_hooks = Hooks(
    set_key_budget=_refuse_budget,
    key_budgets=lambda ids: {},
    profile_budget=lambda user: {},
    user_created=lambda user: None,
    user_deleted=lambda user_id: None,
    set_user_budget=_refuse_user_budget,
    with_month=_without_month,
)


def register(**callables: Callable[..., Any]) -> None:
    """Set one or more hooks by name, e.g. `register(user_created=budgets.open_for)`. The last one wins."""
    global registered_hooks
    registered_hooks = replace(registered_hooks, **callables)


def set_key_budget(key_id: UUID, limit: Decimal | None) -> None:
    registered_hooks.set_key_budget(key_id, limit)


def key_budgets(ids: Iterable[UUID]) -> Mapping[UUID, Decimal | None]:
    return registered_hooks.key_budgets(ids)


def profile_budget(user: User) -> Mapping[str, Any]:
    return registered_hooks.profile_budget(user)


def user_created(user: User) -> None:
    registered_hooks.user_created(user)


def user_deleted(user_id: UUID) -> None:
    registered_hooks.user_deleted(user_id)


def set_user_budget(user_id: UUID, limit: Decimal | None) -> None:
    registered_hooks.set_user_budget(user_id, limit)


def with_month(users: QuerySet[User]) -> QuerySet[User]:
    return registered_hooks.with_month(users)
