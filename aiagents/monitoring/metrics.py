"""The counters behind the promises. Others import the one they need and count.

Several processes count (web, worker), so the values live in files under PROMETHEUS_MULTIPROC_DIR, which the settings
set before this module is imported; `exposition()` adds them up.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Collects nothing by itself when there are files; holds the metrics of a single process otherwise.
REGISTRY = CollectorRegistry()

HOLDS = Counter("aiagents_holds", "Money held before a vendor call", registry=REGISTRY)
SWEPT = Counter("aiagents_swept_holds", "Holds of silent processes, charged by estimate and released", registry=REGISTRY)
INTERRUPTED = Counter("aiagents_interrupted_turns", "Turns that ended with their process", registry=REGISTRY)
FALLBACKS = Counter("aiagents_fallbacks", "Calls that went on with another model before the first token", registry=REGISTRY)
REPLAYS = Counter("aiagents_replays", "Answers repeated for an Idempotency-Key", registry=REGISTRY)
DENIED = Counter("aiagents_denied", "Requests refused before any work: no right, no rate, no budget", registry=REGISTRY)
LOOP_LAG = Gauge("aiagents_loop_lag_seconds", "How late the event loop last woke", multiprocess_mode="livemax", registry=REGISTRY)


def exposition() -> bytes:
    """All processes' values as Prometheus reads them."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)
    return generate_latest(REGISTRY)
