"""Rows as CSV: RFC 4180, UTF-8, streamed page by page, and nothing in it that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.html import strip_tags

from aiagents.lib.db import in_db
from aiagents.lib.jsonio import dumps

TYPE = "text/csv; charset=utf-8"
# An export ends here; more of it is had by narrower filters.
MOST = 1_000_000
_PAGE = 1000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\x00", "|", "%")
Column = tuple[str, Callable[[Any], Any]]


def stream(rows: QuerySet, columns: Sequence[Column], name: str) -> StreamingHttpResponse:
    """The rows as a download, newest id first. Neither memory nor a connection is held for the whole of it."""
    return _download(StreamingHttpResponse(_pages(rows, columns), content_type=TYPE), name)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], name: str) -> HttpResponse:
    """A small table as a download."""
    return _download(HttpResponse(_lines([head, *rows]), content_type=TYPE), name)


async def _pages(rows: QuerySet, columns: Sequence[Column]) -> AsyncGenerator[bytes, None]:
    yield _lines([[title for title, _ in columns]])
    after, left = None, MOST
    while left > 0 and (page := await in_db(_page, rows, columns, after, min(_PAGE, left))):
        yield _lines(line for _, line in page)
        after, left = page[-1][0], left - len(page)


def _page(rows: QuerySet, columns: Sequence[Column], after: Any, most: int) -> list[tuple[Any, list[Any]]]:
    page: QuerySet[Model] = rows.order_by("-pk") if after is None else rows.filter(pk__lt=after).order_by("-pk")
    return [(row.pk, [read(row) for _, read in columns]) for row in page[:most]]


def _download(response: Any, name: str) -> Any:
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def cell(value: Any) -> str:
    """One cell. Numbers stay numbers; text that would be taken for a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dict | list | tuple):
        value = dumps(value).decode()
    text = strip_tags(value) if hasattr(value, "__html__") else str(value)
    text = text.replace("\x00", "")
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text
