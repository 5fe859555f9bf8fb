"""The names of the time zones that this machine knows."""

from __future__ import annotations

import zoneinfo
from functools import cache


@cache
def time_zones() -> frozenset[str]:
    """Return the IANA names of all time zones, such as `Europe/Vienna`.

    Python lists some hundred files for them each time (20 ms of processor); a process does it once.
    """
    return frozenset(zoneinfo.available_timezones())
