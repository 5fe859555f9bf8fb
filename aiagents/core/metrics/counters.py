"""The metrics for Prometheus, including the numbers of `counting`.

Several processes count (web, worker). Each copies its values once a second into files under PROMETHEUS_MULTIPROC_DIR
(files.py), and `exposition()` adds them up (docs/adr/0060). Code outside the hot path imports a counter from here; code on
the hot path uses `counting`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from aiagents.core.metrics import counting, files

files.install()
# Used for `exposition()` only when there are no files, i.e. for a single process.
REGISTRY = CollectorRegistry()

HOLDS = Counter("aiagents_holds", "Money held before a vendor call", registry=REGISTRY)
SWEPT = Counter("aiagents_swept_holds", "Holds of silent processes, charged by estimate and released", registry=REGISTRY)
INTERRUPTED = Counter("aiagents_interrupted_turns", "Turns that ended with their process", registry=REGISTRY)
FALLBACKS = Counter("aiagents_fallbacks", "Calls that went on with another model before the first token", registry=REGISTRY)
REPLAYS = Counter("aiagents_replays", "Answers repeated for an Idempotency-Key", registry=REGISTRY)
NEWS_DROPPED = Counter("aiagents_news_dropped", "News that were not sent: the channel layer was away or too slow", registry=REGISTRY)
DENIED = Counter("aiagents_denied", "Requests refused before any work: no permission, rate limit, no budget", registry=REGISTRY)
LOOP_LAG = Gauge("aiagents_loop_lag_seconds", "How late the event loop last woke", multiprocess_mode="livemax", registry=REGISTRY)

REQUESTS = Counter("aiagents_requests", "Answered requests", ["area", "status"], registry=REGISTRY)
LATENCY = Histogram(
    "aiagents_request_seconds", "From request to answer; streams are not timed", ["area"], buckets=counting.BOUNDS, registry=REGISTRY
)
CALLS = Counter("aiagents_model_calls", "Vendor calls that were settled", ["provider", "model", "status"], registry=REGISTRY)
TOKENS = Counter("aiagents_tokens", "Tokens of vendor calls", ["provider", "model", "kind"], registry=REGISTRY)
COST = Counter("aiagents_cost_usd", "What vendor calls cost, US dollars", ["provider", "model"], registry=REGISTRY)
LOOKUPS = Counter("aiagents_cache_lookups", "Lookups in a cache", ["cache", "result"], registry=REGISTRY)
GAUGES = Gauge("aiagents_now", "What is going on in the processes", ["what"], multiprocess_mode="livesum", registry=REGISTRY)

_lock = threading.Lock()
_carried: dict[tuple[Any, ...], float] = {}


def flush() -> None:
    """Add what was counted since the last call to the metrics, and write them to the files."""
    with _lock:
        for (area, status), count in list(counting.requests.items()):
            _carry(REQUESTS, count, area, str(status))
        for area, latency in list(counting.latencies.items()):
            _carry_latency(area, latency)
        for (provider, model, ended), one in list(counting.calls.items()):
            _carry(CALLS, one.count, provider, model, ended)
            _carry(TOKENS, one.input_tokens, provider, model, "input", part=ended)
            _carry(TOKENS, one.output_tokens, provider, model, "output", part=ended)
            _carry(COST, one.cost_usd, provider, model, part=ended)
        for name, counts in list(counting.lookups.items()):
            _carry(LOOKUPS, counts.hits, name, "hit")
            _carry(LOOKUPS, counts.misses, name, "miss")
        for name, value in gauge_values().items():
            GAUGES.labels(name).set(value)
        files.write()


def gauge_values() -> dict[str, float]:
    """The current values of the registered gauges by name; one that fails is omitted."""
    found: dict[str, float] = {"open_sockets": counting.open_sockets}
    for name, read in counting.gauges.items():
        with contextlib.suppress(Exception):
            found[name] = read()
    return found


def _carry(counter: Counter, value: float, *labels: str, part: str = "") -> None:
    """Add the increase of `value` to a counter. `part` distinguishes several numbers that sum up to one metric."""
    key = (counter, labels, part)
    more = value - _carried.get(key, 0)
    if more > 0:
        counter.labels(*labels).inc(more)
        _carried[key] = value


def _carry_latency(area: str, latency: counting.Latency) -> None:
    """Add whole buckets at once: `observe` would need one call per request."""
    child: Any = LATENCY.labels(area)
    for index, count in enumerate(list(latency.buckets)):
        more = count - _carried.get((LATENCY, area, index), 0)
        if more > 0:
            child._buckets[index].inc(more)
            _carried[LATENCY, area, index] = count
    more_seconds = latency.seconds - _carried.get((LATENCY, area, "seconds"), 0)
    if more_seconds > 0:
        child._sum.inc(more_seconds)
        _carried[LATENCY, area, "seconds"] = latency.seconds


def reset() -> None:
    """Forget what was already added, together with `counting.reset()` (tests)."""
    _carried.clear()


def exposition(further: Iterable[tuple[str, str, str, dict[str, float]]] = ()) -> bytes:
    """The metrics of all processes of this DATA_DIR in Prometheus' text format.

    `further`: additional gauges as (name, help, label, values by label).
    """
    flush()
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return generate_latest(REGISTRY) + _exposed(further)
    with files.locked(Path(folder)):
        with contextlib.suppress(OSError):  # disk full: the dead processes' files stay where they are
            files.merge_dead(Path(folder))
        registry = CollectorRegistry()
        registry.register(_Files(Path(folder)))  # type: ignore[arg-type]  # a collector needs `collect` alone
        return generate_latest(registry) + _exposed(further)


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        return MultiProcessCollector.merge(files.readable(self._folder), accumulate=True)  # type: ignore[no-untyped-call]  # prometheus_client has no types here


def _exposed(further: Iterable[tuple[str, str, str, dict[str, float]]]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Now(further))  # type: ignore[arg-type]  # a collector needs `collect` alone
    return generate_latest(registry)


class _Now:
    def __init__(self, further: Iterable[tuple[str, str, str, dict[str, float]]]) -> None:
        self._further = list(further)

    def collect(self) -> Iterator[Metric]:
        for name, text, label, values in self._further:
            family = GaugeMetricFamily(name, text, labels=[label])
            for of, value in values.items():
                family.add_metric([of], value)
            yield family
