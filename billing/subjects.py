"""What a budget is for, or usage was by: the name people know it by, and whose it is. Upper floors register theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model

from accounts.models import ApiKey, User
from billing.models import Budget


@dataclass(frozen=True, slots=True)
class Subject:
    """`user_id`: whose it is."""

    name: str
    user_id: UUID


Find = Callable[[Iterable[UUID]], Mapping[UUID, Subject]]
_finders: dict[str, Find] = {}


def register(scope: str, find: Find) -> None:
    """Have `find` name the subjects of a budget's scope: those of the ids that exist. The last one wins."""
    _finders[scope] = find


def register_model(scope: str, model: type[Model], *, name: str = "name", owner: str = "user_id", **where: Any) -> None:
    """The same for rows of a model."""

    def find(ids: Iterable[UUID]) -> Mapping[UUID, Subject]:
        rows = model._default_manager.filter(pk__in=list(ids), **where).values_list("pk", name, owner)
        return {pk: Subject(called, user_id) for pk, called, user_id in rows}

    register(scope, find)


def named(scope: str, ids: Iterable[UUID]) -> Mapping[UUID, Subject]:
    """Those of the ids that exist, by id."""
    wanted = list(ids)
    return _finders[scope](wanted) if wanted and scope in _finders else {}


register_model(Budget.Scope.USER, User, name="email", owner="pk")
register_model(Budget.Scope.KEY, ApiKey)
