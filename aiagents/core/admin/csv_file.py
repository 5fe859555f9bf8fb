"""CSV downloads (RFC 4180, UTF-8), streamed page by page and safe against formula injection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpResponse, StreamingHttpResponse

from aiagents.core.admin import csv_cells
from aiagents.core.db.calls import in_db

TYPE = "text/csv; charset=utf-8"
# The maximum number of rows of an export; a user gets more with narrower filters.
MOST = 1_000_000
_PAGE = 1000
Column = tuple[str, Callable[[Any], Any]]


def stream(rows: QuerySet, columns: Sequence[Column], name: str) -> StreamingHttpResponse:
    """The rows as a download, newest id first. It holds neither all rows in memory nor a database connection."""
    return _download(StreamingHttpResponse(_pages(rows, columns), content_type=TYPE), name)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], name: str) -> HttpResponse:
    """A small table as a download."""
    return _download(HttpResponse(csv_cells.lines([head, *rows]), content_type=TYPE), name)


async def _pages(rows: QuerySet, columns: Sequence[Column]) -> AsyncGenerator[bytes, None]:
    yield csv_cells.lines([[title for title, _ in columns]])
    after, left = None, MOST
    while left > 0 and (page := await in_db(read_page, rows, columns, after, min(_PAGE, left))):
        yield csv_cells.lines(line for _, line in page)
        after, left = page[-1][0], left - len(page)


def read_page(rows: QuerySet, columns: Sequence[Column], after: Any, most: int) -> list[tuple[Any, list[Any]]]:
    page: QuerySet[Model] = rows.order_by("-pk") if after is None else rows.filter(pk__lt=after).order_by("-pk")
    return [(row.pk, [read(row) for _, read in columns]) for row in page[:most]]


def _download(response: Any, name: str) -> Any:
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response["Cache-Control"] = "no-store"
    return response
