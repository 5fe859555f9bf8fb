"""List filters with fixed choices: none queries a table of millions of rows for its distinct values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

Choices = Sequence[tuple[str, Any]]


def one_of(field: str, choices: Choices | Callable[[], Choices], title: str = "") -> type[admin.SimpleListFilter]:
    """A filter for `field` equal to one of the choices."""

    class OneOf(admin.SimpleListFilter):
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, str(shown)) for value, shown in (choices() if callable(choices) else choices)]

        def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
            return queryset if self.value() is None else queryset.filter(**{field: self.value()})

    OneOf.title = title or field.replace("_", " ")
    return OneOf


def empty(field: str, title: str, yes: str, no: str) -> type[admin.SimpleListFilter]:
    """A filter for whether `field` is null; `yes` and `no` are the labels."""

    class Empty(admin.SimpleListFilter):
        parameter_name = f"{field}_is"

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [("empty", yes), ("set", no)]

        def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
            match self.value():
                case "empty":
                    return queryset.filter(**{field: None})
                case "set":
                    return queryset.exclude(**{field: None})
            return queryset

    Empty.title = title
    return Empty


def cases(name: str, title: str, found: Iterable[tuple[str, str, Q]]) -> type[admin.SimpleListFilter]:
    """A filter of named conditions, given as (value, label, condition)."""
    known = {value: (shown, rows) for value, shown, rows in found}

    class Cases(admin.SimpleListFilter):
        parameter_name = name

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, shown) for value, (shown, _) in known.items()]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
            chosen = known.get(self.value() or "")
            return queryset.filter(chosen[1]) if chosen else queryset

    Cases.title = title
    return Cases
