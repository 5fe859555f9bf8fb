"""Long text and JSON values in forms, in a scrolling box."""

from __future__ import annotations

from typing import Any

import orjson
from django.utils.html import format_html
from django.utils.safestring import SafeString

_MOST = 100_000


def pretty(value: Any) -> SafeString | str:
    """The value as escaped HTML: JSON indented, text unchanged, truncated to _MOST characters."""
    if value in (None, "", [], {}):
        return "–"
    shown = value if isinstance(value, str) else orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode()
    if len(shown) > _MOST:
        shown = f"{shown[:_MOST]}\n[{len(shown) - _MOST} more characters]"
    return format_html('<pre class="office-pre" tabindex="0">{}</pre>', shown)
