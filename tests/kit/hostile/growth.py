"""How the time of a regular expression grows with its text."""

from __future__ import annotations

import re
import time

from tests.kit.hostile import pumping

FLOOR = 0.004  # seconds of CPU below which the clock shows no growth


# The time may grow with the length to this power: 1 is linear, 2 quadratic.
MOST_GROWTH = 1.6


# In small steps at first: an exponential pattern must be found before it takes for ever.
SIZES = (20, 30, 80, 320, 2000, 10_000)


def seconds(pattern: re.Pattern, text: str, at_start: bool) -> float:
    subject = text.encode() if isinstance(pattern.pattern, bytes) else text
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        if at_start:
            pattern.fullmatch(subject)
            pattern.match(subject)
        else:
            for _ in pattern.finditer(subject):
                pass
        best = min(best, time.process_time() - began)
        if best < FLOOR:
            break
    return best


def grows(pattern: re.Pattern, make: pumping.Maker, at_start: bool) -> str | None:
    """How the time grows where it grows faster than the text; None for a linear pattern."""
    before, shorter = 0.0, 1
    for size in SIZES:
        took = seconds(pattern, make(size), at_start)
        faster = took > (size / shorter) ** MOST_GROWTH * max(before, FLOOR / 200)
        if faster and took > FLOOR:
            return f"{make(12)[:80]!r}… of {size} characters took {took:.4f} s, of {shorter} {before:.4f} s"
        if size == SIZES[-2] and not faster:
            return None  # the longest text is for what looks suspicious
        before, shorter = took, size
    return None


def worst(pattern: re.Pattern, at_start: bool) -> str | None:
    return next(filter(None, (grows(pattern, make, at_start) for make in pumping.texts(pattern))), None)
