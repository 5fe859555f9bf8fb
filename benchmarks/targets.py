"""The performance targets with the measured values: met, NOT met, or not measured in this run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.gateway.rivals import LITELLM_CPU_WITH_DATABASE, LITELLM_RATE_WITH_DATABASE
from benchmarks.harness.tables import markdown, number


@dataclass(frozen=True)
class Row:
    """One target. `at_least`: the value must reach the limit; otherwise it must not exceed it."""

    what: str
    value: float | None
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> str:
        if self.value is None or self.value != self.value:
            return "not measured"
        return "met" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "NOT MET"


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """`found`: figures by benchmark (gateway, idle, …)."""
    calls = found.get("gateway", {})

    def pick(scenario: str, name: str, key: str) -> float | None:
        return calls.get(scenario, {}).get(name, {}).get(key)

    def ratio(key: str, factor: float = 1.0) -> float | None:
        ours, theirs = pick("json 16", "aiagents", key), pick("json 16", "litellm", key)
        return ours / (theirs * factor) if ours and theirs else None

    times = ratio("rate", LITELLM_RATE_WITH_DATABASE)
    yield Row("requests/s at 16, times LiteLLM with database (its bare rate here × 39/94)", times, 5, "×", at_least=True)
    share = ratio("cpu_ms", LITELLM_CPU_WITH_DATABASE)
    yield Row("CPU per request, of LiteLLM with database (its bare CPU here × 31.1/10.6)", share, 1 / 6, "×")
    ours, direct = pick("rate 30", "aiagents", "p50_ms"), pick("rate 30", "direct", "p50_ms")
    yield Row("added p50 at 30 requests/s", ours - direct if ours and direct else None, 6, "ms")
    yield Row("first token, 50 streams, p50", pick("stream 50", "aiagents", "ttft_p50_ms"), 30, "ms")
    yield Row("first token, 500 streams, p50", pick("stream 500", "aiagents", "ttft_p50_ms"), 250, "ms")
    yield Row("first token, 500 streams, p95", pick("stream 500", "aiagents", "ttft_p95_ms"), 500, "ms")
    yield Row("CPU per stream of 100 chunks, 200 streams", pick("stream 200", "aiagents", "cpu_ms"), 12, "ms")
    yield Row("1,000 idle sockets, over the base", found.get("idle", {}).get("added_mb"), 150, "MB")
    yield Row("memory of one web process, under load", _most_memory(calls), 200, "MB")
    for name, times in found.get("linear", {}).items():
        yield Row(f"10 times the {name}", times["times"], 11, "×")
    if "analytics" in found:
        yield Row(f"analytics over {found['analytics']['rows']:,} rows, slowest report warm", found["analytics"]["slowest_ms"], 300, "ms")
        yield Row("the same, slowest page or list of the back office warm", found["analytics"].get("slowest_page_ms"), 300, "ms")


def _most_memory(calls: dict[str, Any]) -> float | None:
    """Memory between scenarios of up to 64 concurrent requests; the table shows the additional memory of 500 streams."""
    seen = [by_name["aiagents"]["memory_mb"] for name, by_name in calls.items() if name.startswith("json") and "aiagents" in by_name]
    return max(seen, default=None)


def table(found: dict[str, Any]) -> str:
    """All of them as Markdown."""
    lines = [
        (row.what, _limit(row), number(row.value, 2) + f" {row.unit}" if row.value is not None else "", row.met) for row in rows(found)
    ]
    return markdown(("target", "limit", "measured", "met"), lines)


def _limit(row: Row) -> str:
    return f"{'≥' if row.at_least else '≤'} {row.limit:.3g} {row.unit}"
