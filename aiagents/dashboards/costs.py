"""Cost optimisation: the costs by model, and the same work's cost with other models."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import reverse

from aiagents.dashboards import usage
from aiagents.dashboards.panels import Card, Chart, Dashboard, Panel, Series, Table, Unit, shown
from aiagents.dashboards.ranges import Range
from billing.reports import shapes
from billing.reports import staff as analytics


def report(request: HttpRequest, range_: Range) -> Dashboard:
    found = analytics.cost_optimization(range_.from_, range_.to)
    total = found["totals"]
    month = found["possible_saving_per_month_usd"]
    note = f"{shown(month, 'usd')} in a month" if month else f"{found['observed_days']} days are too few to say how much in a month"
    cards = [
        Card("Cost", shown(total["cost_usd"], "usd"), "in this range"),
        Card("Could be saved", shown(found["possible_saving_usd"], "usd"), note, "good" if float(found["possible_saving_usd"]) else ""),
        Card("Saved by routing", shown(total["saved_usd"], "usd"), f"against {found['baseline_model']}"),
        Card(
            "Saved by caching", shown(total["cache_saved_usd"], "usd"), f"{shown(total['cached_share'], 'share')} of the input was cached"
        ),
        Card(
            "Lost in failed calls",
            shown(total["failed_cost_usd"], "usd"),
            f"{total['failed_calls']:,} calls",
            "warn" if total["failed_calls"] else "",
        ),
        Card("Beyond the hold", shown(total["overrun_usd"], "usd"), f"{total['estimated_calls']:,} calls were estimated"),
    ]
    return Dashboard(
        "Cost optimisation", cards, [_suggestions(found["suggestions"]), *_models(found["models"], range_)], usage.simulated(total)
    )


def _suggestions(found: list[shapes.Suggestion]) -> Panel:
    rows = [[one["title"], one["text"], one["saving_per_month_usd"]] for one in found]
    table = Table([("what", ""), ("why", ""), ("saves in a month", "usd")], rows, "Nothing to suggest: too few calls, or all is well.")
    return Panel("suggestions", "Suggestions", table, wide=True, open=True)


def _models(models: list[shapes.ModelCost], range_: Range) -> list[Panel]:
    rows = []
    for one in models:
        other = one["alternative"]
        page = reverse("admin:billing_aimodel_changelist")
        rows.append([
            (one["label"], usage.link("model", one["key"], range_)), one["quality"], one["lifecycle"], one["calls"], one["cost_usd"],
            one["cost_share"], one["cost_per_call_usd"], one["cached_share"], one["cache_saved_usd"],
            one["saved_usd"],
            *([None] * 3 if other is None else [
                (other["label"], f"{page}?q={other['model']}"), other["cost_usd"], other["saving_usd"],
            ]),
        ])  # fmt: skip
    head: list[tuple[str, Unit]] = [
        ("model", ""), ("quality", "count"), ("life-cycle", ""), ("calls", "count"), ("cost", "usd"), ("share", "share"),
        ("per call", "usd"),
        ("cached", "share"), ("saved by caching", "usd"), ("saved", "usd"), ("alternative", ""), ("would cost", "usd"), ("saves", "usd"),
    ]  # fmt: skip
    top = models[:10]
    labels, costs = [one["label"] for one in top], [Series("cost", [one["cost_usd"] for one in top])]
    compared = [(one, other) for one in models if (other := one["alternative"])][:10]
    pairs = [
        Series("as it was", [one["cost_usd"] for one, _ in compared]),
        Series("alternative", [other["cost_usd"] for _, other in compared]),
    ]
    pair_rows = [[one["label"], one["cost_usd"], other["label"], other["cost_usd"]] for one, other in compared]
    shares = [[one["label"], one["cost_usd"], one["cost_share"]] for one in models]
    share_table = Table([("model", ""), ("cost", "usd"), ("share", "share")], shares)
    none = "No model of like quality would have done it for clearly less."
    pair_head: list[tuple[str, Unit]] = [("model", ""), ("cost", "usd"), ("alternative", ""), ("would have cost", "usd")]
    return [
        Panel("share", "Where the money goes", share_table, Chart("doughnut", labels, costs, "usd")),
        Panel(
            "alternatives", "The same tokens elsewhere", Table(pair_head, pair_rows, none),
            Chart("across", [one["label"] for one, _ in compared], pairs, "usd"),
        ),
        Panel("models", "Models", Table(head, rows), wide=True, open=True),
    ]  # fmt: skip
