"""Iterate over a table one page per call, so that a frequent sweep reaches every row in the end."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet

T = TypeVar("T", bound=Model)


class Rotation(Generic[T]):
    """Remembers, for this process, the last row that it returned. After the last row of the table it starts again."""

    def __init__(self) -> None:
        self._after: Any = None

    def page(self, query: QuerySet[T], size: int) -> list[T]:
        """The next `size` rows of `query`, ordered by primary key; fewer at the end of the table."""
        ordered = query.order_by("pk")
        rows = list((ordered if self._after is None else ordered.filter(pk__gt=self._after))[:size])
        if not rows and self._after is not None:
            rows = list(ordered[:size])
        self._after = rows[-1].pk if len(rows) == size else None
        return rows
