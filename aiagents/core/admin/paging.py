"""Pages of lists that may have millions of rows: they are counted up to a cap, never whole."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

# Rows that are counted, and so the last row that pages lead to; what lies beyond is had by filters.
MOST = 5000


class CappedPaginator(Paginator):
    """`count` is at most MOST; `more` says that there are more rows than that."""

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
        # The order goes and the limit stays: the database stops after that many rows.
        return rows.order_by()[: MOST + 1].count()
