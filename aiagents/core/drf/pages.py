"""Keyset pagination: the page after a row is found by the row's values, ties and nulls included.

DRF's cursor counts offsets among equal values, and its previous page can be wrong; this one compares (value, …, id).
A page is bounded in bytes, too: rows with long texts fill it before `page_size` does.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import F, Field, Q, QuerySet
from django.db.models.expressions import OrderBy
from rest_framework import pagination
from rest_framework.request import Request
from rest_framework.utils.urls import remove_query_param, replace_query_param

from aiagents.core.drf import page_bytes
from aiagents.core.errors import InvalidRequest

NOTHING = Q(pk__in=[])


@dataclass(frozen=True, slots=True)
class Term:
    """One column of an ordering. Nulls come last in the forward direction."""

    name: str
    descending: bool
    nullable: bool
    field: Field | None
    backward: bool = False

    def order(self) -> OrderBy:
        descending = self.descending != self.backward
        nulls = {} if not self.nullable else {"nulls_first": True} if self.backward else {"nulls_last": True}
        return F(self.name).desc(**nulls) if descending else F(self.name).asc(**nulls)

    def equal(self, value: Any) -> Q:
        return Q(**{f"{self.name}__isnull": True}) if value is None else Q(**{self.name: value})

    def beyond(self, value: Any) -> Q:
        if value is None:
            return Q(**{f"{self.name}__isnull": False}) if self.backward else NOTHING
        found = Q(**{f"{self.name}__{'lt' if self.descending != self.backward else 'gt'}": value})
        return found | Q(**{f"{self.name}__isnull": True}) if self.nullable and not self.backward else found

    def bound(self, value: Any) -> Q:
        """A redundant condition that `equal` and `beyond` imply, so that the database can use an index."""
        if value is None or self.nullable:
            return Q()
        return Q(**{f"{self.name}__{'lte' if self.descending != self.backward else 'gte'}": value})

    def read(self, row: Any) -> str | None:
        value = row
        for part in self.name.split("__"):
            value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
        return None if value is None else str(value)

    def parse(self, text: str | None) -> Any:
        if text is None or self.field is None:
            return text
        return self.field.to_python(text)


class CursorPagination(pagination.CursorPagination):
    """Pages as `{"next", "previous", "results"}`, newest first by default; `?page_size=` is 1 to 100."""

    ordering: Any = "-id"
    page_size_query_param = "page_size"
    max_page_size = 100
    page_size_query_description = "Rows on a page, 1 to 100. A page of long texts has fewer: follow `next`."
    _next: str | None = None
    _previous: str | None = None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        found = super().get_schema_operation_parameters(view)
        for parameter in found:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
            else:
                parameter["schema"] = {"type": "string", "maxLength": 4000}
        return found

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The shape of a page. DRF's says `nullable`, which OpenAPI 3.1 does not know."""
        example = f"https://example.com/api/v1/list?{self.cursor_query_param}=WzAsIjAxOTMiXQ"
        url = {"type": ["string", "null"], "format": "uri", "example": example}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": url, "previous": url, "results": schema},
        }

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get(self.page_size_query_param)
        if text is None:
            return self.page_size  # type: ignore[return-value]  # it is set on every paginator of ours
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= self.max_page_size:
            raise InvalidRequest(f"page_size must be a number from 1 to {self.max_page_size}.", param="page_size")
        return int(text)

    def get_ordering(self, request: Request, queryset: QuerySet, view: Any) -> tuple[str, ...]:
        requested = None
        for backend in getattr(view, "filter_backends", ()):
            if hasattr(backend, "get_ordering"):
                requested = backend().get_ordering(request, queryset, view)
                break
        found = requested or self.ordering
        ordering = (found,) if isinstance(found, str) else tuple(found)
        if any(name.lstrip("-") in ("id", "pk") for name in ordering):
            return ordering
        return (*ordering, "-pk" if ordering[0].startswith("-") else "pk")

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request, self.base_url = request, request.build_absolute_uri()
        size = self.get_page_size(request)
        self.ordering = self.get_ordering(request, queryset, view)
        backward, values = self._read_cursor(len(self.ordering))
        terms = [_term(queryset, name, backward) for name in self.ordering]
        if values:
            queryset = queryset.filter(_after(terms, values))
        rows, more = _read(queryset.order_by(*(term.order() for term in terms)), size)
        self.page = rows[::-1] if backward else rows
        before, after = (more, True) if backward else (bool(values), more)
        self._next = self._cursor(terms, self.page[-1], False) if self.page and after else None
        self._previous = self._cursor(terms, self.page[0], True) if self.page and before else None
        return self.page

    def get_next_link(self) -> str | None:
        return self._link(self._next)

    def get_previous_link(self) -> str | None:
        return self._link(self._previous)

    def _link(self, cursor: str | None) -> str | None:
        return (
            replace_query_param(remove_query_param(self.base_url or "", self.cursor_query_param), self.cursor_query_param, cursor)
            if cursor
            else None
        )

    def _cursor(self, terms: list[Term], row: Any, backward: bool) -> str:
        raw = json.dumps([int(backward), *(term.read(row) for term in terms)], separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def _read_cursor(self, columns: int) -> tuple[bool, list[str | None]]:
        """Whether the cursor goes backward, and the values of its row; an empty list for the first page."""
        text = self.request.query_params.get(self.cursor_query_param)
        if not text:
            return False, []
        try:
            if len(text) > 4000:
                raise ValueError
            found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            backward, *values = found
            if not isinstance(found, list) or backward not in (0, 1) or len(values) != columns:
                raise ValueError
            if any(not (value is None or (isinstance(value, str) and "\x00" not in value)) for value in values):
                raise ValueError
        except (ValueError, TypeError, RecursionError) as exc:
            raise bad_cursor() from exc
        return bool(backward), values


def _read(queryset: QuerySet, size: int) -> tuple[list[Any], bool]:
    """Return the first rows, at most `size` and as many as fit on a page, and whether there are more."""
    long = page_bytes.long_columns(queryset)
    if not long:
        rows = list(queryset[: size + 1])
        return rows[:size], len(rows) > size
    while True:
        sizes = list(queryset.values_list("pk", page_bytes.size(long))[: size + 1])
        count = page_bytes.fitting((bytes_ for _, bytes_ in sizes[:size]), page_bytes.MOST_BYTES)
        rows = list(queryset.filter(pk__in=[pk for pk, _ in sizes[:count]]))
        # All rows of the page were deleted in between: without a row there is no cursor to the rows after them.
        if rows or not sizes:
            return rows, count < len(sizes)


def _after(terms: list[Term], texts: list[str | None]) -> Q:
    """The condition for rows that come after the row with these values."""
    try:
        values = [term.parse(text) for term, text in zip(terms, texts, strict=True)]
    except (DjangoValidationError, ValueError, ArithmeticError) as exc:
        raise bad_cursor() from exc
    found, same = NOTHING, Q()
    for term, value in zip(terms, values, strict=True):
        found |= same & term.beyond(value)
        same &= term.equal(value)
    return terms[0].bound(values[0]) & found


def _term(queryset: QuerySet, name: str, backward: bool) -> Term:
    plain = name.removeprefix("-")
    annotation = queryset.query.annotations.get(plain)
    field: Any = None
    if annotation is not None:
        return Term(plain, name.startswith("-"), True, getattr(annotation, "output_field", None), backward)
    model = queryset.model
    nullable = False
    for part in plain.split("__"):
        try:
            field = model._meta.pk if part == "pk" else model._meta.get_field(part)
        except FieldDoesNotExist:
            return Term(plain, name.startswith("-"), True, None, backward)
        nullable |= bool(getattr(field, "null", False))
        model = getattr(field, "related_model", None) or model
    return Term(plain, name.startswith("-"), nullable, field, backward)


def bad_cursor() -> InvalidRequest:
    return InvalidRequest("This cursor is not valid; use a link from `next` or `previous`.", code="invalid_cursor", param="cursor")
