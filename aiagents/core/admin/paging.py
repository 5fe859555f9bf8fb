"""Pagination of lists that may have millions of rows: they are counted only up to a limit."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

# The maximum count of rows, and so the last row that pages reach; filters reach the others.
MOST = 5000


class CappedPaginator(Paginator):
    """A paginator whose `count` is at most MOST; `more` is True if there are more rows."""

    template_name = "admin/capped_pagination.html"

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST)

    @cached_property
    def more(self) -> bool:
        return self._counted > MOST

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        # Without ordering and with a limit the database stops after that many rows.
        return rows.order_by()[: MOST + 1].count()
