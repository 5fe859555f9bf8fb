"""Lists: cursor pages, orderings and filters that refuse what they do not know."""

from __future__ import annotations

from typing import Any

import django_filters
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from rest_framework import exceptions, filters, pagination
from rest_framework.request import Request

from aiagents.lib.errors import InvalidRequest

# Parameters that a list may be given besides its filters.
COMMON = frozenset({"page_size", "cursor", "search", "ordering", "format"})


class CursorPagination(pagination.CursorPagination):
    """`{"next", "previous", "results"}`, newest first unless ordered otherwise; ties are broken by id."""

    ordering = "-id"
    page_size_query_param = "page_size"
    max_page_size = 100
    page_size_query_description = "Rows on a page, 1 to 100."

    def get_page_size(self, request: Request) -> int:
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size  # type: ignore[return-value]
        if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:9]) <= self.max_page_size:
            raise InvalidRequest(f"page_size is a number from 1 to {self.max_page_size}.", param="page_size")
        return int(asked)

    def get_ordering(self, request: Request, queryset: QuerySet, view: Any) -> tuple[str, ...]:
        ordering = tuple(super().get_ordering(request, queryset, view))
        if any(name.lstrip("-") in ("id", "pk") for name in ordering):
            return ordering
        return (*ordering, "-id" if ordering[0].startswith("-") else "id")

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        try:
            return super().decode_cursor(request)
        except exceptions.NotFound as exc:
            raise _bad_cursor() from exc

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list[Any] | None:
        self._check_position(queryset, request, view)
        return super().paginate_queryset(queryset, request, view)

    def _check_position(self, queryset: QuerySet, request: Request, view: Any) -> None:
        """A cursor that was written by hand must fail here and not in the database."""
        cursor = self.decode_cursor(request)
        if cursor is None or cursor.position is None:
            return
        if "\x00" in cursor.position or len(cursor.position) > 500:
            raise _bad_cursor()
        name = self.get_ordering(request, queryset, view)[0].lstrip("-")
        field = queryset.query.annotations.get(name)
        output = getattr(field, "output_field", None) if field is not None else None
        if output is None and "__" not in name:
            output = queryset.model._meta.pk if name == "pk" else queryset.model._meta.get_field(name)
        try:
            if output is not None:
                output.to_python(cursor.position)
        except (DjangoValidationError, ValueError, ArithmeticError) as exc:
            raise _bad_cursor() from exc


def _bad_cursor() -> InvalidRequest:
    return InvalidRequest("This cursor is not one of ours.", code="invalid_cursor", param="cursor")


class SafeOrderingFilter(filters.OrderingFilter):
    """`?ordering=` over the view's `ordering_fields` and nothing else; what is not listed is 400."""

    def get_ordering(self, request: Request, queryset: QuerySet, view: Any) -> tuple[str, ...] | list[str] | None:
        asked = request.query_params.get(self.ordering_param)
        if not asked:
            return self.get_default_ordering(view)
        allowed = {item if isinstance(item, str) else item[0] for item in getattr(view, "ordering_fields", None) or ()}
        names = [name.strip() for name in asked.split(",")]
        unknown = [name for name in names if name.removeprefix("-") not in allowed]
        if unknown or len(names) > len(allowed):
            listed = ", ".join(sorted(allowed)) or "nothing"
            raise InvalidRequest(f"This list can be ordered by: {listed}.", param="ordering")
        return names

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return super().get_schema_operation_parameters(view) if getattr(view, "ordering_fields", None) else []


class StrictFilterSet(django_filters.FilterSet):
    """Filters that answer 400 to a parameter they do not have, so that a typo is not an unfiltered list.

    `also`: further parameters that the view reads itself.
    """

    also: frozenset[str] = frozenset()

    def is_valid(self) -> bool:
        known = set(self.form.fields) | COMMON | self.also
        # Ranges and the like: created_at_after, created_at_before belong to created_at.
        for name, field in self.form.fields.items():
            for suffix in getattr(field.widget, "suffixes", None) or ():
                known.add(f"{name}_{suffix}")
        unknown = sorted(set(self.data) - known)
        if unknown:
            raise InvalidRequest(
                f"There is no parameter {unknown[0][:100]!r} here.", param=unknown[0][:100], details={"known": sorted(known)}
            )
        return super().is_valid()
