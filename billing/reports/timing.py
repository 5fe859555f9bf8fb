"""Durations of model calls as counts per bucket: unlike percentiles, the counts of hours add up to those of a year."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Count, Q
from django.db.models.functions import JSONArray

# The upper bounds of the buckets in milliseconds; one more bucket is above the last bound.
BOUNDS = (
    50, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 45_000,
    60_000, 90_000, 120_000, 180_000, 300_000, 600_000,
)  # fmt: skip


def buckets(column: str, of: Q) -> JSONArray:
    """Return an aggregate: how many of the rows that `of` selects lie in each bucket, as a JSON list."""
    low = [None, *BOUNDS]
    counts = []
    for above, bound in zip(low, [*BOUNDS, None], strict=True):
        inside = of & Q(**{f"{column}__isnull": False})
        if above is not None:
            inside &= Q(**{f"{column}__gt": above})
        if bound is not None:
            inside &= Q(**{f"{column}__lte": bound})
        counts.append(Count("pk", filter=inside))
    return JSONArray(*counts)


def added(lists: Iterable[Sequence[int]]) -> list[int]:
    """Return the sums of the buckets of several rows."""
    total = [0] * (len(BOUNDS) + 1)
    for counts in lists:
        for index, count in enumerate(counts):
            total[index] += count
    return total


def percentile(counts: Sequence[int], share: float) -> int | None:
    """Return the milliseconds within which this share of the calls ended; None without calls.

    Interpolates linearly within a bucket.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for index, count in enumerate(counts):
        if count and below + count >= wanted:
            if index == len(BOUNDS):
                break
            lower = BOUNDS[index - 1] if index else 0
            return round(lower + (BOUNDS[index] - lower) * (wanted - below) / count)
        below += count
    return BOUNDS[-1]
