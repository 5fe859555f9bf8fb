"""Fill `{name}` in a task's input from its variables, in one pass: a placeholder in a value stays unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiagents.core import expansion

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PLACEHOLDER = re.compile(r"\{(" + NAME.pattern + r")\}")
# The built-in names, in the task's time zone; a variable of the same name takes precedence.
BUILT_IN = ("date", "time", "now", "weekday")


def filled(text: str, variables: Mapping[str, Any], moment: datetime, zone: str) -> str:
    """Return the text with every known name replaced; unknown names and JSON stay unchanged.

    Raises expansion.TooLong (400) before the result exceeds MAX_EXPANDED_CHARACTERS.
    """
    local = moment.astimezone(ZoneInfo(zone))
    values = {
        "date": f"{local:%Y-%m-%d}",
        "time": f"{local:%H:%M}",
        "now": local.isoformat(timespec="seconds"),
        "weekday": f"{local:%A}",
    }
    return expansion.filled(_PLACEHOLDER, text, lambda name: _as_text(variables[name]) if name in variables else values.get(name))


def _as_text(value: Any) -> str:
    if value is True or value is False:
        return str(value).lower()
    return "" if value is None else str(value)
