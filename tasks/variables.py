"""`{name}` in a task's input, filled from its variables. One pass: a value that looks like a placeholder stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiagents.core import expansion

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PLACEHOLDER = re.compile(r"\{(" + NAME.pattern + r")\}")
# Given by us, in the task's time zone; a variable of the same name wins.
BUILT_IN = ("date", "time", "now", "weekday")


def filled(text: str, variables: Mapping[str, Any], moment: datetime, zone: str) -> str:
    """The text with every known name replaced; what is not known (and JSON) is left alone.

    Raises expansion.TooLong (400) before it makes more than MAX_EXPANDED_CHARACTERS of it.
    """
    local = moment.astimezone(ZoneInfo(zone))
    values = {
        "date": f"{local:%Y-%m-%d}",
        "time": f"{local:%H:%M}",
        "now": local.isoformat(timespec="seconds"),
        "weekday": f"{local:%A}",
    }
    return expansion.filled(_PLACEHOLDER, text, lambda name: _words(variables[name]) if name in variables else values.get(name))


def _words(value: Any) -> str:
    if value is True or value is False:
        return str(value).lower()
    return "" if value is None else str(value)
