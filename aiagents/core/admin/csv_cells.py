"""Values as the cells of a CSV file, with nothing in them that a spreadsheet would run.

Spreadsheets in much of Europe split such a file at `;`, others at TAB, and then a quoted cell does not hold together: what
stands after a separator or a line break inside a text may begin a cell of its own. So a sign that starts a formula gets an
apostrophe there too, and every cell is quoted.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils.html import strip_tags

from aiagents.core.jsonio import dumps

# Also the full-width and small forms, which spreadsheets in East Asia take for the plain ones.
_SIGNS = "=+\\-@|%\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
_BREAKS = ";\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029"
# What readers skip before a value, quotation marks of a broken quoting included; no breaks, so that each character is read once.
_SKIPPED = ' "\xa0\xad\u1680\u180e\u2000-\u200f\u202f\u205f\u2060\u3000\ufeff'
_BEGINS = re.compile(f"[{_SKIPPED}]*+[{_SIGNS}{_BREAKS}]")
_INSIDE = re.compile(f"([{_BREAKS}][{_SKIPPED}]*+)([{_SIGNS}])")


def lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """The rows as RFC 4180 has them, in UTF-8, every cell in quotation marks."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def cell(value: Any) -> str:
    """One cell. Numbers stay numbers; text that would be taken for a formula gets an apostrophe before its sign."""
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
    text = _INSIDE.sub(r"\1'\2", text)
    return "'" + text if _BEGINS.match(text) else text
