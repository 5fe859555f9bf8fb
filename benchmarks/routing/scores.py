"""Figures of a routing policy that gives each prompt of a table a score: the higher, the sooner it goes to the strong model.

The definitions are those of RouteLLM (arXiv 2406.18665). Prompts with equal scores count as sent in random order, so a
constant score has an APGR of exactly one half.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import quantiles

from benchmarks.routing.tables import Table

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """The performance gap recovered (PGR) by share of strong calls; all are fractions.

    `apgr` is the area below its curve (0.5 is random), `pgr_20` and `pgr_50` its value at that share of strong calls,
    `cpt_50` and `cpt_80` the share that recovers so much. `interval` holds 95 % of the resampled `apgr`.
    """

    apgr: float
    interval: tuple[float, float]
    pgr_20: float
    pgr_50: float
    cpt_50: float
    cpt_80: float


Point = tuple[float, float]


def curve(table: Table, scores: Sequence[float], weights: Sequence[int] | None = None) -> list[Point]:
    """Return (share of strong calls, PGR) at each distinct score, from (0, 0) to (1, 1). `weights` counts each row so often."""
    counts = weights or [1] * len(scores)
    total = sum(counts)
    gap = sum(count * (row.strong - row.weak) for count, row in zip(counts, table.rows, strict=True))
    points, sent, gained = [(0.0, 0.0)], 0.0, 0.0
    ordered = sorted(range(len(scores)), key=lambda at: -scores[at])
    for _, group in groupby(ordered, key=lambda at: scores[at]):
        for at in group:
            sent += counts[at]
            gained += counts[at] * (table.rows[at].strong - table.rows[at].weak)
        points.append((sent / total, gained / gap))
    return points


def area(points: Sequence[Point]) -> float:
    return sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(points))


def at_share(points: Sequence[Point], share: float) -> float:
    """Return the PGR at this share of strong calls."""
    for (x1, y1), (x2, y2) in pairwise(points):
        if x2 >= share:
            return y1 if x2 == x1 else y1 + (y2 - y1) * (share - x1) / (x2 - x1)
    return points[-1][1]


def share_for(points: Sequence[Point], recovered: float) -> float:
    """Return the least share of strong calls that recovers so much of the gap."""
    for (x1, y1), (x2, y2) in pairwise(points):
        if y2 >= recovered:
            return x1 if y2 == y1 else x1 + (x2 - x1) * max(0.0, recovered - y1) / (y2 - y1)
    return 1.0


def figures(table: Table, scores: Sequence[float], resamples: int = RESAMPLES) -> Figures:
    """Measure the scores of the table's prompts; `resamples` bootstrap samples make the interval (always the same ones)."""
    points = curve(table, scores)
    chance = random.Random(1)
    areas = [area(curve(table, scores, _counts(chance, len(scores)))) for _ in range(resamples)]
    cuts = quantiles(areas, n=40) if len(areas) > 1 else [area(points)] * 39
    return Figures(
        area(points), (cuts[0], cuts[-1]), at_share(points, 0.2), at_share(points, 0.5), share_for(points, 0.5), share_for(points, 0.8)
    )


def _counts(chance: random.Random, size: int) -> list[int]:
    counts = [0] * size
    for at in chance.choices(range(size), k=size):
        counts[at] += 1
    return counts
