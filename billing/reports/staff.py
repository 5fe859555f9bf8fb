"""Reports for staff, used by `/api/v1/admin/…` and by the pages under `/admin/analytics/`.

Each report is a dict for JSON: money as decimal strings, times as RFC 3339 in UTC. Figures come from the rollups and,
for the current hour, from the usage log. `simulated_calls` counts those of the `calls` that the simulator answered.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from django.db.models import Q

from aiagents.core.jsonio import money
from billing.models import UsageRollup
from billing.reports import figures, reading, shapes
from billing.reports.activity import user_activity
from billing.reports.costs import cost_optimization
from billing.reports.figures import BUCKETS, GROUPS, shown, time
from billing.reports.overview import overview
from billing.reports.performance import model_performance

__all__ = ["BUCKETS", "GROUPS", "cost_optimization", "model_performance", "overview", "usage", "user_activity"]
GroupBy = Literal["none", "model", "provider", "purpose", "surface", "status", "user", "key", "agent"]
Bucket = Literal["auto", "hour", "day", "week", "month"]
# The groups with a separate line in the chart; the others share one.
SERIES = 8
# The most groups in a table.
MOST_GROUPS = 200


def usage(from_: datetime, to: datetime, group_by: GroupBy = "none", bucket: Bucket = "auto") -> shapes.UsageAnalytics:
    """Return usage in [from_, to): `totals`, `points` over time, `groups` (by cost), and `series` for charts.

    `series` contain one value per point for the SERIES groups with the highest cost and for all others. The first and
    the last point may cover a part of a bucket.
    """
    chosen = figures.checked(from_, to, group_by, bucket)
    at = reading.starts(from_, to, chosen)
    over_time = reading.read(from_, to, UsageRollup.Slice.MODEL, bucket=chosen)
    points = [over_time.get((start,)) or figures.no_usage() for start in at]
    found: shapes.UsageAnalytics = {
        "from": time(from_),
        "to": time(to),
        "bucket": chosen,
        "group_by": group_by,
        "totals": shown(figures.add_up(points), shapes.Totals),
        "points": [{"at": time(start), **shown(point, shapes.Totals)} for start, point in zip(at, points, strict=True)],
        "groups": [],
        "groups_left_out": 0,
        "series": [],
    }
    if group_by != "none":
        groups = figures.by_cost(reading.read(from_, to, *_by(group_by)))
        found["groups"] = figures.labelled(group_by, groups[:MOST_GROUPS], shapes.GroupTotals)
        found["groups_left_out"] = max(0, len(groups) - MOST_GROUPS)
        found["series"] = _series(from_, to, group_by, chosen, at, points, groups)
    return found


def _by(group_by: str) -> tuple[str, tuple[str, ...]]:
    slice_, column = GROUPS[group_by]
    return slice_, (column,)


def _series(
    from_: datetime,
    to: datetime,
    group_by: str,
    bucket: str,
    at: list[datetime],
    points: list[dict[str, Any]],
    groups: list[tuple[Any, Any]],
) -> list[shapes.Series]:
    slice_, (column,) = _by(group_by)
    top = [key for key, _ in groups[:SERIES]]
    names = figures.labels(group_by, top)
    only = Q(**{f"{column}__in": [key for key in top if key is not None]})
    if None in top:
        only |= Q(**{f"{column}__isnull": True})
    rows = reading.read(from_, to, slice_, (column,), names=("cost_usd",), bucket=bucket, only=only)
    rest = [(point["cost_usd"], point["calls"]) for point in points]
    lines: list[shapes.Series] = []
    for key in top:
        values = [rows.get((start, key)) for start in at]
        costs = [value["cost_usd"] if value else Decimal(0) for value in values]
        calls = [value["calls"] if value else 0 for value in values]
        rest = [(max(Decimal(0), cost - c), max(0, count - n)) for (cost, count), c, n in zip(rest, costs, calls, strict=True)]
        lines.append({"key": None if key is None else str(key), "label": names[key], "cost_usd": [money(c) for c in costs], "calls": calls})
    if len(groups) > SERIES:
        costs, calls = [cost for cost, _ in rest], [count for _, count in rest]
        lines.append({"key": "", "label": f"{len(groups) - SERIES} others", "cost_usd": [money(c) for c in costs], "calls": calls})
    return lines
