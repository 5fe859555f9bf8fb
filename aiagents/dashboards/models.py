"""Model performance: success, speed and cost per call of each model."""

from __future__ import annotations

from typing import Literal

from django.http import HttpRequest

from aiagents.dashboards import usage
from aiagents.dashboards.panels import Card, Chart, Dashboard, Panel, Series, Table, Tone, Unit, moment, shown
from aiagents.dashboards.ranges import Range
from billing.reports import page_shapes
from billing.reports import staff as analytics

_PERCENTS: tuple[Literal["p50_ms", "p95_ms", "p99_ms"], ...] = ("p50_ms", "p95_ms", "p99_ms")


def report(request: HttpRequest, range_: Range) -> Dashboard:
    found = analytics.model_performance(range_.from_, range_.to)
    total, models, points = found["totals"], found["models"], found["points"]
    success = total["success_share"]
    cards = [
        Card("Success", shown(success, "share"), f"{total['calls']:,} calls", _tone(success)),
        Card("Time of a call", shown(total["mean_latency_ms"], "ms"), "mean"),
        Card("First token", shown(total["mean_ttft_ms"], "ms"), "mean of the streamed calls"),
        Card("Speed", shown(total["tokens_per_second"], "rate"), "output tokens per second"),
        Card("A call costs", shown(total["cost_per_call_usd"], "usd"), "mean"),
        Card("Estimated", shown(total["estimated_calls"], "count"), "calls whose vendor reported no usage"),
    ]  # fmt: skip
    panels = [
        _success(points), _speed(points), _latency("latency", "Time of a call", models),
        _latency("first_token", "Time to the first token", models), _table(models, range_), _errors(models),
    ]  # fmt: skip
    return Dashboard("Model performance", cards, panels, usage.simulated(total))


def _tone(success: float | None) -> Tone:
    return "" if success is None else "good" if success > 0.97 else "warn" if success > 0.9 else "bad"


def _success(points: list[page_shapes.QualityPoint]) -> Panel:
    at = [moment(point["at"]) for point in points]
    well = [point["calls"] - point["failed_calls"] for point in points]
    series = [Series("ended well", well), Series("failed, cut off or cancelled", [point["failed_calls"] for point in points])]
    rows = [[point["at"], point["calls"], point["failed_calls"], point["success_share"]] for point in points]
    head: list[tuple[str, Unit]] = [("from (UTC)", "time"), ("calls", "count"), ("failed", "count"), ("success", "share")]
    return Panel("success", "How calls ended", Table(head, rows), Chart("stacked", at, series, "count"))


def _speed(points: list[page_shapes.QualityPoint]) -> Panel:
    at = [moment(point["at"]) for point in points]
    series = [
        Series("call", [point["mean_latency_ms"] for point in points]),
        Series("first token", [point["mean_ttft_ms"] for point in points]),
        Series("tokens per second", [point["tokens_per_second"] for point in points], "line", "right"),
    ]
    rows = [[point["at"], point["mean_latency_ms"], point["mean_ttft_ms"], point["tokens_per_second"]] for point in points]
    head: list[tuple[str, Unit]] = [("from (UTC)", "time"), ("call", "ms"), ("first token", "ms"), ("tokens per second", "rate")]
    return Panel("speed", "Speed over time", Table(head, rows), Chart("line", at, series, "ms", "rate"))


def _latency(key: Literal["latency", "first_token"], title: str, models: list[page_shapes.ModelPerformance]) -> Panel:
    top = models[:12]
    series = [Series(name.removesuffix("_ms"), [one[key][name] for one in top]) for name in _PERCENTS]
    rows = [[one["label"], *(one[key][name] for name in _PERCENTS)] for one in models]
    head: list[tuple[str, Unit]] = [("model", ""), ("p50", "ms"), ("p95", "ms"), ("p99", "ms")]
    return Panel(key, title, Table(head, rows), Chart("bar", [one["label"] for one in top], series, "ms"))


def _table(models: list[page_shapes.ModelPerformance], range_: Range) -> Panel:
    rows = [
        [
            (one["label"], usage.link("model", one["key"], range_)), one["provider"], one["calls"], one["success_share"],
            one["latency"]["p50_ms"],
            one["latency"]["p95_ms"], one["first_token"]["p50_ms"], one["first_token"]["p95_ms"], one["tokens_per_second"],
            one["cost_per_call_usd"],
            one["cost_usd"], one["quality"], one["last_at"],
        ]
        for one in models
    ]  # fmt: skip
    head: list[tuple[str, Unit]] = [
        ("model", ""), ("vendor", ""), ("calls", "count"), ("success", "share"), ("call p50", "ms"), ("call p95", "ms"),
        ("first token p50", "ms"),
        ("first token p95", "ms"), ("tokens/s", "rate"), ("per call", "usd"), ("cost", "usd"), ("quality", "count"),
        ("last used (UTC)", "time"),
    ]  # fmt: skip
    return Panel("models", "Models", Table(head, rows), wide=True, open=True)


def _errors(models: list[page_shapes.ModelPerformance]) -> Panel:
    counted = sorted(((one, error) for one in models for error in one["errors"]), key=lambda both: -both[1]["calls"])
    rows = [[one["label"], error["status"], error["error_code"] or "–", error["calls"]] for one, error in counted]
    head: list[tuple[str, Unit]] = [("model", ""), ("ended", ""), ("error", ""), ("calls", "count")]
    return Panel("errors", "Errors", Table(head, rows, "No call failed in this range."), wide=True, open=True)
