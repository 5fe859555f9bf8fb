"""Usage over time, grouped by model, user, API key, agent and more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from aiagents.dashboards.panels import Card, Chart, Choice, Dashboard, Panel, Series, Table, Unit, moment, shown
from aiagents.dashboards.permissions import PEOPLE, may
from aiagents.dashboards.ranges import Range
from billing.reports import staff as analytics

GROUPS = [
    ("model", "model"), ("provider", "provider"), ("user", "user"), ("key", "API key"), ("agent", "agent"), ("purpose", "purpose"),
    ("surface", "surface"), ("status", "outcome"), ("none", "nothing"),
]  # fmt: skip
BUCKETS = [("auto", "by itself"), ("hour", "hour"), ("day", "day"), ("week", "week"), ("month", "month")]
# (title, key, unit) of the columns that every table of totals has.
SUMS: list[tuple[str, str, Unit]] = [
    ("calls", "calls", "count"), ("failed", "failed_calls", "count"), ("simulated", "simulated_calls", "count"),
    ("input tokens", "input_tokens", "count"), ("cached", "cached_input_tokens", "count"), ("output tokens", "output_tokens", "count"),
    ("cost", "cost_usd", "usd"),
]  # fmt: skip
_PAGES = {"user": "admin:accounts_user_change", "key": "admin:accounts_apikey_change", "agent": "admin:agents_agent_change"}


def report(request: HttpRequest, range_: Range) -> Dashboard:
    groups = [one for one in GROUPS if one[0] not in ("user", "key") or may(request, PEOPLE)]
    group_by = _chosen(request, "group_by", groups, "model")
    bucket = _chosen(request, "bucket", BUCKETS, "auto")
    found = analytics.usage(range_.from_, range_.to, cast(Any, group_by), cast(Any, bucket))
    title = dict(GROUPS)[group_by]
    panels = [_over_time("cost", "Cost", "cost_usd", "usd", found), _over_time("calls", "Calls", "calls", "count", found), _tokens(found)]
    if group_by != "none":
        panels.append(_groups(found, title, range_))
    return Dashboard(
        "Usage", totals(found["totals"]), panels,
        choices=[Choice("group_by", "by", groups, group_by), Choice("bucket", "per", BUCKETS, bucket)],
        notes=simulated(found["totals"]),
    )  # fmt: skip


def totals(total: Mapping[str, Any]) -> list[Card]:
    """The cards of a total."""
    calls, failed = total["calls"], total["failed_calls"]
    rate = failed / calls if calls else 0.0
    return [
        Card("Cost", shown(total["cost_usd"], "usd"), "in this range"),
        Card("Calls", shown(calls, "count"), f"{shown(rate, 'share')} failed", "bad" if rate > 0.1 else "warn" if rate > 0.03 else "good"),
        Card("Input tokens", shown(total["input_tokens"], "count"), f"{shown(total['cached_input_tokens'], 'count')} of them cached"),
        Card("Output tokens", shown(total["output_tokens"], "count"), f"{shown(total['reasoning_tokens'], 'count')} of them reasoning"),
        Card("Saved by routing", shown(total["saved_usd"], "usd"), "against the baseline model"),
        Card("Saved by caching", shown(total["cache_saved_usd"], "usd"), "against no prompt cache"),
    ]


def simulated(total: Mapping[str, Any]) -> list[str]:
    """The note about simulated calls in the figures; empty if there are none."""
    count = total.get("simulated_calls") or 0
    if not count:
        return []
    part = "All calls" if count == total["calls"] else f"{count:,} of {total['calls']:,} calls"
    return [f"{part} in these figures were answered by the simulator: no vendor was paid for them."]


def cells(row: Mapping[str, Any]) -> list[Any]:
    return [row.get(key) for _, key, _ in SUMS]


HEAD: list[tuple[str, Unit]] = [(title, unit) for title, _, unit in SUMS]


def link(group_by: str, key: str | None, range_: Range) -> str:
    """The URL of a group's page or of its calls; empty if there is none."""
    if not key:
        return ""
    if group_by in _PAGES:
        return reverse(_PAGES[group_by], args=[key])
    if group_by in ("model", "provider", "purpose", "surface", "status"):
        name = "status__exact" if group_by == "status" else group_by
        query = {name: key, "created_at__gte": range_.from_.isoformat(), "created_at__lt": range_.to.isoformat()}
        return f"{reverse('admin:billing_usagelog_changelist')}?{urlencode(query)}"
    return ""


def _over_time(key: str, title: str, column: str, unit: Unit, found: Mapping[str, Any]) -> Panel:
    points, series = found["points"], found["series"]
    at = [moment(point["at"]) for point in points]
    if series:
        lines = [Series(one["label"], one[column]) for one in series]
    else:
        lines = [Series(title.lower(), [point[column] for point in points])]
    head: list[tuple[str, Unit]] = [("from (UTC)", "time"), *((line.label, unit) for line in lines)]
    rows = [[point["at"], *(line.values[index] for line in lines)] for index, point in enumerate(points)]
    return Panel(key, title, Table(head, rows), Chart("stacked", at, lines, unit), wide=key == "cost")


def _tokens(found: Mapping[str, Any]) -> Panel:
    points = found["points"]
    at = [moment(point["at"]) for point in points]
    lines = [Series("input", [point["input_tokens"] for point in points]), Series("output", [point["output_tokens"] for point in points])]
    return Panel(
        "tokens",
        "Tokens",
        Table([("from (UTC)", "time"), *HEAD], [[point["at"], *cells(point)] for point in points]),
        Chart("stacked", at, lines, "count"),
    )


def _groups(found: Mapping[str, Any], title: str, range_: Range) -> Panel:
    groups, by = found["groups"], found["group_by"]
    whole = float(found["totals"]["cost_usd"])
    rows = []
    for one in groups:
        part = float(one["cost_usd"]) / whole if whole else None
        rows.append([(one["label"], link(by, one["key"], range_)), *cells(one), part])
    top = groups[:12]
    chart = Chart("across", [one["label"] for one in top], [Series("cost", [one["cost_usd"] for one in top])], "usd")
    left = found["groups_left_out"]
    note = f"{left} more are not shown; the API and the usage log have them." if left else ""
    return Panel("groups", f"By {title}", Table([(title, ""), *HEAD, ("share", "share")], rows), chart, note, wide=True, open=True)


def _chosen(request: HttpRequest, name: str, values: list[tuple[str, str]], default: str) -> str:
    wanted = request.GET.get(name, default)
    return wanted if wanted in dict(values) else default
