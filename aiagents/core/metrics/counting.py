"""What this process has done so far, in plain numbers: counting costs a request a fraction of a microsecond.

`metrics.py` carries the numbers into Prometheus' files and `sharing.py` into Valkey, once a second, off the hot path.
They are counted on the event loop, or on a worker's one thread; several threads may lose one in a great many.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

# Upper bounds of the latency buckets, seconds; above the last is one more.
BOUNDS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75,
    1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_API = frozenset({"auth", "chat", "billing", "agents", "tasks", "admin", "system"})


@dataclass(slots=True)
class Latency:
    """How long requests took: how many in each bucket, and all seconds together."""

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
    """Of one cache. Its owner raises the numbers itself: `counts.hits += 1`."""

    hits: int = 0
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything since the process began, added up."""

    requests: int
    # Answered with 5xx, or streams that broke off by our fault.
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
    """One request was answered. A stream's length says nothing of our speed: it is counted, not timed."""
    global _broken
    door = door_of(path)
    requests[door, status] = requests.get((door, status), 0) + 1
    if broke and status < 500:
        _broken += 1
    if not streamed:
        latency = latencies.get(door)
        if latency is None:
            latency = latencies[door] = Latency()
        latency.buckets[bisect_left(BOUNDS, seconds)] += 1
        latency.seconds += seconds


def call(provider: str, model: str, status: str, input_tokens: int, output_tokens: int, cost_usd: Decimal | int) -> None:
    """One vendor call was settled."""
    one = calls.get((provider, model, status))
    if one is None:
        one = calls[provider, model, status] = Calls()
    one.count += 1
    one.input_tokens += input_tokens
    one.output_tokens += output_tokens
    one.cost_usd += float(cost_usd)


def cache(name: str) -> Lookups:
    """The numbers of one cache, for its owner to raise."""
    return lookups.setdefault(name, Lookups())


def gauge(name: str, read: Callable[[], float]) -> None:
    """Have `read()` asked once a second, from another thread: what only an upper floor knows."""
    gauges[name] = read


def door_of(path: str) -> str:
    """Which part of the product a path belongs to: one of a dozen names, whatever a client makes up."""
    return _door_of(path[:32])


@lru_cache(maxsize=2048)
def _door_of(path: str) -> str:
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
    """All doors, models and statuses together."""
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
    """Milliseconds within which this share of the requests was answered, from the buckets; None over no request."""
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


def percentiles(buckets: Sequence[int]) -> dict[str, float | None]:
    """The three that pages and API show."""
    return {"p50_ms": percentile(buckets, 0.5), "p95_ms": percentile(buckets, 0.95), "p99_ms": percentile(buckets, 0.99)}


def reset() -> None:
    """As at start (tests)."""
    global _broken, open_sockets
    _broken = open_sockets = 0
    for table in (requests, latencies, calls):
        table.clear()
    for counts in lookups.values():
        counts.hits = counts.misses = 0
