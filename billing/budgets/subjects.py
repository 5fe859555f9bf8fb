"""Subjects of budgets and usage (users, keys, agents, tasks): their names and owners.

`aiagents/wiring.py` registers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet


@dataclass(frozen=True, slots=True)
class Subject:
    """The name of a user, key, agent or task. `user_id`: its owner."""

    name: str
    user_id: UUID


@dataclass(frozen=True, slots=True)
class _Source:
    model: type[Model]
    name: str
    owner: str
    # Selects those that were not deleted or revoked. Reports name the others, too.
    active: dict[str, Any]


_sources: dict[str, _Source] = {}


def register(scope: str, model: type[Model], *, name: str = "name", owner: str = "user_id", **active: Any) -> None:
    """Make the rows of `model` the subjects of this scope; `active` selects those that were not deleted or revoked."""
    _sources[scope] = _Source(model, name, owner, active)


def named(scope: str, ids: Iterable[UUID]) -> Mapping[UUID, Subject]:
    """Return the subjects of the ids, by id, deleted ones included. Unknown ids are left out."""
    wanted, source = list(ids), _sources.get(scope)
    if not wanted or source is None:
        return {}
    rows = source.model._default_manager.filter(pk__in=wanted).values_list("pk", source.name, source.owner)
    return {pk: Subject(called, user_id) for pk, called, user_id in rows}


def name_of(scope: str, id: Any) -> QuerySet[Any]:
    """Return a query of one value, the name of a subject; `id` may be an expression."""
    source = _sources[scope]
    return source.model._default_manager.filter(pk=id).values(source.name)


def active(scope: str, **where: Any) -> QuerySet[Any]:
    """Return the ids of the subjects that were not deleted or revoked: a budget can be set for these."""
    source = _sources[scope]
    return source.model._default_manager.filter(**source.active, **where).values("pk")


def owned(scope: str, user_id: UUID) -> QuerySet[Any]:
    """Return the ids of the active subjects that this user owns."""
    return active(scope, **{_sources[scope].owner: user_id})


def scopes() -> frozenset[str]:
    """Return the scopes with registered subjects: all but the system's, once every app is loaded."""
    return frozenset(_sources)
