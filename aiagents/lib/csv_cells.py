"""Values as the cells of a CSV file, with nothing in them that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils.html import strip_tags

from aiagents.lib.jsonio import dumps

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\x00", "|", "%")


def lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """The rows as RFC 4180 has them, in UTF-8."""
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
