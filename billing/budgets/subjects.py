"""What a budget is for, or usage was by: the name people know it by, and whose it is. `aiagents/wiring.py` registers each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet


@dataclass(frozen=True, slots=True)
class Subject:
    """`user_id`: whose it is."""

    name: str
    user_id: UUID


@dataclass(frozen=True, slots=True)
class _Source:
    model: type[Model]
    name: str
    owner: str
    # Those that people can still see; costs of the others keep their names.
    living: dict[str, Any]


_sources: dict[str, _Source] = {}


def register(scope: str, model: type[Model], *, name: str = "name", owner: str = "user_id", **living: Any) -> None:
    """The rows of `model` are the subjects of this scope; `living` narrows them to those that were not deleted or revoked."""
    _sources[scope] = _Source(model, name, owner, living)


def named(scope: str, ids: Iterable[UUID]) -> Mapping[UUID, Subject]:
    """Those of the ids that there are or were, by id."""
    wanted, source = list(ids), _sources.get(scope)
    if not wanted or source is None:
        return {}
    rows = source.model._default_manager.filter(pk__in=wanted).values_list("pk", source.name, source.owner)
    return {pk: Subject(called, user_id) for pk, called, user_id in rows}


def name_of(scope: str, id: Any) -> QuerySet[Any]:
    """The name of one subject as a query of one value; `id` may be an expression."""
    source = _sources[scope]
    return source.model._default_manager.filter(pk=id).values(source.name)


def living(scope: str, **where: Any) -> QuerySet[Any]:
    """The ids of what a budget can be set for."""
    source = _sources[scope]
    return source.model._default_manager.filter(**source.living, **where).values("pk")


def owned(scope: str, user_id: UUID) -> QuerySet[Any]:
    """Those of them that are this user's."""
    return living(scope, **{_sources[scope].owner: user_id})


def scopes() -> frozenset[str]:
    """The scopes that have subjects here: all but the system, once every app is loaded."""
    return frozenset(_sources)
