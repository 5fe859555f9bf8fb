"""User activity: active, new and returning users, and their spending."""

from __future__ import annotations

from django.http import HttpRequest

from aiagents.dashboards import usage
from aiagents.dashboards.panels import Card, Chart, Dashboard, Panel, Series, Table, Unit, moment, shown
from aiagents.dashboards.ranges import Range
from billing.reports import page_shapes
from billing.reports import staff as analytics


def report(request: HttpRequest, range_: Range) -> Dashboard:
    found = analytics.user_activity(range_.from_, range_.to)
    users, people, points = found["users"], found["people"], found["points"]
    back = users["came_back"] / users["active"] if users["active"] else None
    cards = [
        Card("Active", shown(users["active"], "count"), f"of {users['total']:,} users"),
        Card("New", shown(users["new"], "count"), "joined in this range"),
        Card("Came back", shown(users["came_back"], "count"), f"{shown(back, 'share')} used it on more than one day"),
    ]
    return Dashboard("User activity", cards, [_days(points), _spending(people), _table(people, found["people_left_out"], range_)])


def _days(points: list[page_shapes.ActivityPoint]) -> Panel:
    at = [moment(point["at"]) for point in points]
    series = [
        Series("active", [point["active_users"] for point in points], "line"),
        Series("new", [point["new_users"] for point in points], "bar"),
    ]
    rows = [[point["at"], point["active_users"], point["new_users"]] for point in points]
    head: list[tuple[str, Unit]] = [("day (UTC)", "time"), ("active", "count"), ("new", "count")]
    return Panel("days", "Active and new users", Table(head, rows), Chart("line", at, series, "count"))


def _spending(people: list[page_shapes.ActiveUser]) -> Panel:
    top = people[:12]
    chart = Chart("across", [one["label"] for one in top], [Series("cost", [one["cost_usd"] for one in top])], "usd")
    rows = [[one["label"], one["cost_usd"], one["cost_share"]] for one in people]
    return Panel("spending", "Who spends most", Table([("user", ""), ("cost", "usd"), ("share", "share")], rows), chart)


def _table(people: list[page_shapes.ActiveUser], left: int, range_: Range) -> Panel:
    rows = [
        [
            (one["label"], usage.link("user", one["key"], range_)), one["active_days"], one["calls"], one["failed_share"],
            one.get("input_tokens"), one.get("output_tokens"), one["cost_usd"], one["cost_share"], one.get("last_at"),
        ]
        for one in people
    ]  # fmt: skip
    head: list[tuple[str, Unit]] = [
        ("user", ""), ("active days", "count"), ("calls", "count"), ("failed", "share"), ("input tokens", "count"),
        ("output tokens", "count"),
        ("cost", "usd"), ("share", "share"), ("last call (UTC)", "time"),
    ]  # fmt: skip
    note = f"{left} more are not shown." if left else ""
    return Panel("people", "Users", Table(head, rows), note=note, wide=True, open=True)
