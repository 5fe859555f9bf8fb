"""System health: the machine, the databases, the queues and the requests over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest

from aiagents.dashboards.panels import Card, Chart, Dashboard, Panel, Series, Table, Unit, labels, shown
from aiagents.dashboards.ranges import Range
from aiagents.monitoring import system

# (key, title, unit, [(column, its name)])
_CHARTS: list[tuple[str, str, Unit, list[tuple[str, str]]]] = [
    ("requests", "Requests per second", "rate", [("requests_per_second", "requests/s")]),
    ("errors", "Errors", "count", [("errors", "failed requests"), ("failed_calls", "failed model calls")]),
    ("calls", "Model calls", "count", [("calls", "calls")]),
    ("tokens", "Tokens", "count", [("input_tokens", "input"), ("output_tokens", "output")]),
    ("cpu", "Processor", "percent", [("cpu_percent", "used")]),
    ("memory", "Memory", "bytes", [("memory_used_bytes", "used"), ("memory_total_bytes", "there is")]),
    ("disk", "Disk", "bytes", [("disk_used_bytes", "used"), ("disk_total_bytes", "there is")]),
    ("queues", "Work that waits and goes on", "count", [("queued", "queued"), ("running_turns", "turns"), ("open_sockets", "sockets")]),
    ("database", "Answer of the stores", "ms", [("database_ms", "database"), ("valkey_ms", "Valkey")]),
    ("connections", "Database connections", "count", [("database_connections", "connections")]),
    ("held", "Money on hold", "usd", [("held_usd", "held")]),
]


def report(request: HttpRequest, range_: Range) -> Dashboard:
    found = system.history(range_.from_, range_.to)
    points: Sequence[Mapping[str, Any]] = found["points"]
    at = labels(points, "at")
    panels = [_panel(key, title, unit, names, points, at) for key, title, unit, names in _CHARTS]
    panels.insert(1, _latency(points, at))
    return Dashboard("System health", _cards(points), panels, () if points else ("Nothing was measured in this range: is beat running?",))


def _panel(key: str, title: str, unit: Unit, names: list[tuple[str, str]], points: Sequence[Mapping[str, Any]], at: list[str]) -> Panel:
    chart = Chart("line", at, [Series(name, [point[column] for point in points]) for column, name in names], unit)
    table = Table(
        [("at (UTC)", "time"), *((name, unit) for _, name in names)],
        [[point["at"], *(point[column] for column, _ in names)] for point in points],
    )
    return Panel(key, title, table, chart)


def _latency(points: Sequence[Mapping[str, Any]], at: list[str]) -> Panel:
    names = sorted({name for point in points for name in (point["latency"] or {}) if name.endswith("_ms") or name.startswith("p")})
    rows = [[(point["latency"] or {}).get(name) for name in names] for point in points]
    titles = [name.removesuffix("_ms") for name in names]
    chart = Chart("line", at, [Series(title, [row[index] for row in rows]) for index, title in enumerate(titles)], "ms")
    head: list[tuple[str, Unit]] = [("at (UTC)", "time"), *((title, "ms") for title in titles)]  # type: ignore[list-item]  # mypy widens the literal
    return Panel("latency", "Time to answer", Table(head, [[point["at"], *row] for point, row in zip(points, rows, strict=True)]), chart)


def _cards(points: Sequence[Mapping[str, Any]]) -> list[Card]:
    if not points:
        return []
    last = points[-1]
    requests, errors = sum(point["requests"] for point in points), sum(point["errors"] for point in points)
    failed = errors / requests if requests else 0.0
    return [
        Card("Requests", shown(requests, "count"), "in this range"),
        Card("Failed", shown(failed, "share"), f"{errors:,} requests", "bad" if failed > 0.01 else "good"),
        Card("Processor", shown(last["cpu_percent"], "percent"), "lately", "warn" if (last["cpu_percent"] or 0) > 85 else ""),
        Card("Memory", _of(last, "memory"), "lately", _full(last, "memory")),
        Card("Disk", _of(last, "disk"), "lately", _full(last, "disk")),
        Card("Queued", shown(last["queued"], "count"), "lately", "warn" if (last["queued"] or 0) > 100 else ""),
    ]


def _of(point: Mapping[str, Any], what: str) -> str:
    return f"{shown(point[f'{what}_used_bytes'], 'bytes')} of {shown(point[f'{what}_total_bytes'], 'bytes')}"


def _full(point: Mapping[str, Any], what: str) -> Any:
    used, total = point[f"{what}_used_bytes"], point[f"{what}_total_bytes"]
    return "bad" if used and total and used / total > 0.9 else ""
