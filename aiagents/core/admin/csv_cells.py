"""Cells of a CSV file, safe against formula injection in spreadsheets.

Spreadsheets in much of Europe split a CSV file at `;`, others at TAB, and then quotes do not keep a cell together: text
after a separator or a line break may become another cell. So every cell is quoted, and a character that starts a formula
gets an apostrophe there too.
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

# Includes the full-width and small forms, which spreadsheets in East Asia treat like the plain ones.
_SIGNS = "=+\\-@|%\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
_BREAKS = ";\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029"
# Characters that spreadsheets skip before a value, and quotes of a broken quoting; no breaks, so that the regex stays linear.
_SKIPPED = ' "\xa0\xad\u1680\u180e\u2000-\u200f\u202f\u205f\u2060\u3000\ufeff'
_BEGINS = re.compile(f"[{_SKIPPED}]*+[{_SIGNS}{_BREAKS}]")
_INSIDE = re.compile(f"([{_BREAKS}][{_SKIPPED}]*+)([{_SIGNS}])")


def lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """The rows as CSV (RFC 4180) in UTF-8, with every cell quoted."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def cell(value: Any) -> str:
    """The text of one cell. Numbers stay numbers; text that looks like a formula gets an apostrophe before its first sign."""
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
