"""Orderings and filters of lists. Unknown ones are refused with 400."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from rest_framework import filters
from rest_framework.request import Request

from aiagents.core.errors import InvalidRequest

# Parameters that every list accepts besides its filters.
COMMON = frozenset({"page_size", "cursor", "search", "ordering", "format"})


class SafeOrderingFilter(filters.OrderingFilter):
    """`?ordering=` by the view's `ordering_fields`; any other field is 400."""

    def get_ordering(self, request: Request, queryset: QuerySet, view: Any) -> Any:
        requested = request.query_params.get(self.ordering_param)
        if not requested:
            return self.get_default_ordering(view)
        allowed = {item if isinstance(item, str) else item[0] for item in getattr(view, "ordering_fields", None) or ()}
        names = [name.strip() for name in requested.split(",")]
        unknown = [name for name in names if name.removeprefix("-") not in allowed]
        if unknown or len(names) > len(allowed):
            listed = ", ".join(sorted(allowed)) or "nothing"
            raise InvalidRequest(f"This list can be ordered by: {listed}.", param="ordering")
        return names

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        allowed = [item if isinstance(item, str) else item[0] for item in getattr(view, "ordering_fields", None) or ()]
        if not allowed:
            return []
        found = super().get_schema_operation_parameters(view)
        one = f"-?({'|'.join(allowed)})"
        for parameter in found:
            parameter["schema"] = {"type": "string", "pattern": f"^({one}(,{one}){{0,{len(allowed) - 1}}})?$"}
            parameter["description"] = f"By {', '.join(allowed)}; `-` before a name reverses its order, commas separate several."
        return found


class StrictFilterSet(django_filters.FilterSet):
    """Filters that answer 400 to an unknown parameter, so that a typo does not return an unfiltered list.

    `also`: further parameters, which the view reads itself.
    """

    also: frozenset[str] = frozenset()

    def is_valid(self) -> bool:
        known = set(self.form.fields) | COMMON | self.also
        # A range has two parameters: created_at has created_at_after and created_at_before.
        for name, field in self.form.fields.items():
            for suffix in getattr(field.widget, "suffixes", None) or ():
                known.add(f"{name}_{suffix}")
        unknown = sorted(set(self.data) - known)
        if unknown:
            raise InvalidRequest(f"There is no parameter {unknown[0][:100]!r}.", param=unknown[0][:100], details={"known": sorted(known)})
        return super().is_valid()


def refuse_unknown_parameters(request: Request, *known: str) -> None:
    """Raise InvalidRequest for a query parameter that is neither known nor DRF's `format`."""
    if unknown := sorted(set(request.query_params) - {*known, "format"}):
        raise InvalidRequest(f"There is no parameter {unknown[0][:100]!r}.", param=unknown[0][:100], details={"known": sorted(known)})
