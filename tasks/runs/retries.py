"""Whether a failed attempt is tried again, and when. Pure."""

from __future__ import annotations

import random

# Seconds: no retry waits longer.
LONGEST = 3600.0


def delay(attempt: int, base: float, asked: float | None = None, roll: float | None = None) -> float:
    """Return the seconds before the attempt after `attempt` (1 is the first): doubled each time, half to all of it at random.

    `asked` is the vendor's own Retry-After; the delay is never shorter. `roll` (0 to 1) replaces chance in tests.
    """
    whole = min(base * 2 ** min(attempt - 1, 30), LONGEST)
    chance = random.random() if roll is None else roll
    return max(whole * (0.5 + chance / 2), min(asked or 0.0, LONGEST))
