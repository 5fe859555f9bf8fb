"""Counts of this process as plain numbers: counting costs a request a fraction of a microsecond.

Once a second, off the hot path, `counters.py` copies them into Prometheus' files and `monitoring/sharing.py` into Valkey.
They are incremented without a lock on the event loop or a worker's thread; several threads may rarely lose one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TypedDict

# Upper bounds of the latency buckets in seconds; one more bucket is above the last bound.
BOUNDS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75,
    1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_API = frozenset({"auth", "chat", "billing", "agents", "tasks", "admin", "system"})


@dataclass(slots=True)
class Latency:
    """Request durations: the number of requests per bucket, and the sum of seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0


@dataclass(slots=True)
class Calls:
    """Vendor calls of one model that ended in one way."""

    count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(slots=True)
class Lookups:
    """Hits and misses of one cache. Its owner increments them: `counts.hits += 1`."""

    hits: int = 0
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals since the process began."""

    requests: int
    # Responses with 5xx, and streams that failed on our side.
    errors: int
    calls: int
    failed_calls: int
    input_tokens: int
    output_tokens: int
    latency: tuple[int, ...]


requests: dict[tuple[str, int], int] = {}
latencies: dict[str, Latency] = {}
calls: dict[tuple[str, str, str], Calls] = {}
lookups: dict[str, Lookups] = {}
gauges: dict[str, Callable[[], float]] = {}
_broken = 0
open_sockets = 0


def request(path: str, status: int, seconds: float, *, streamed: bool = False, broke: bool = False) -> None:
    """Count a request that was answered. Streams are not timed, because their duration depends on the vendor."""
    global _broken
    area = area_of(path)
    requests[area, status] = requests.get((area, status), 0) + 1
    if broke and status < 500:
        _broken += 1
    if not streamed:
        latency = latencies.get(area)
        if latency is None:
            latency = latencies[area] = Latency()
        latency.buckets[bisect_left(BOUNDS, seconds)] += 1
        latency.seconds += seconds


def call(provider: str, model: str, status: str, input_tokens: int, output_tokens: int, cost_usd: Decimal | int) -> None:
    """Count a settled vendor call."""
    one = calls.get((provider, model, status))
    if one is None:
        one = calls[provider, model, status] = Calls()
    one.count += 1
    one.input_tokens += input_tokens
    one.output_tokens += output_tokens
    one.cost_usd += float(cost_usd)


def cache(name: str) -> Lookups:
    """The hits and misses of one cache, for its owner to increment."""
    return lookups.setdefault(name, Lookups())


def gauge(name: str, read: Callable[[], float]) -> None:
    """Register a gauge: `read()` is called once a second, from another thread. Higher layers provide values this way."""
    gauges[name] = read


def area_of(path: str) -> str:
    """The part of the product that a path belongs to: one of a dozen names for every possible path."""
    return _area_of(path[:32])


@lru_cache(maxsize=2048)
def _area_of(path: str) -> str:
    parts = path.split("/", 4)
    head = parts[1] if len(parts) > 1 else ""
    if head == "api" and len(parts) > 3 and parts[2] == "v1":
        return parts[3] if parts[3] in _API else "other"
    if head in ("v1", "admin", "static"):
        return {"admin": "office"}.get(head, head)
    if head in ("health", "metrics", "docs", "api"):
        return "system"
    return "page" if head == "" else "other"


def totals() -> Totals:
    """The sums over all areas, models and statuses."""
    per_bucket = [0] * (len(BOUNDS) + 1)
    for latency in list(latencies.values()):
        for index, count in enumerate(latency.buckets):
            per_bucket[index] += count
    counted = list(requests.items())
    called = list(calls.items())
    return Totals(
        requests=sum(count for _, count in counted),
        errors=_broken + sum(count for (_, status), count in counted if status >= 500),
        calls=sum(one.count for _, one in called),
        failed_calls=sum(one.count for (_, _, status), one in called if status in ("failed", "interrupted")),
        input_tokens=sum(one.input_tokens for _, one in called),
        output_tokens=sum(one.output_tokens for _, one in called),
        latency=tuple(per_bucket),
    )


def percentile(buckets: Sequence[int], share: float) -> float | None:
    """The milliseconds within which this share of the requests was answered; None without requests."""
    total = sum(buckets)
    if not total:
        return None
    wanted, below = share * total, 0
    for index, count in enumerate(buckets):
        if count and below + count >= wanted:
            if index == len(BOUNDS):
                return BOUNDS[-1] * 1000
            lower = BOUNDS[index - 1] if index else 0.0
            return round((lower + (BOUNDS[index] - lower) * (wanted - below) / count) * 1000, 2)
        below += count
    return BOUNDS[-1] * 1000


class Percentiles(TypedDict):
    """Milliseconds; null: nothing was measured."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


def percentiles(buckets: Sequence[int]) -> Percentiles:
    """The percentiles that the pages and the API show."""
    return {"p50_ms": percentile(buckets, 0.5), "p95_ms": percentile(buckets, 0.95), "p99_ms": percentile(buckets, 0.99)}


def reset() -> None:
    """Restore the initial state (tests)."""
    global _broken, open_sockets
    _broken = open_sockets = 0
    for table in (requests, latencies, calls):
        table.clear()
    for counts in lookups.values():
        counts.hits = counts.misses = 0
