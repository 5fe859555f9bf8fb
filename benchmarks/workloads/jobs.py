"""Task runs per second: a queue of prompts, and one worker as `make run` starts it (four slots, one loop each)."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.harness.installation import Installation
from benchmarks.harness.meter import Meter, Span
from benchmarks.harness.tables import markdown, number

_WORKER = (
    "-m", "celery", "-q", "-A", "aiagents", "worker", "-n", "bench@%h", "-Q", "celery,tasks", "-c", "4", "--loglevel", "WARNING",
    "--without-gossip", "--without-mingle",
)  # fmt: skip
_STATES = """
    SELECT status, count(*), extract(epoch FROM max(ended_at) - min(started_at)) FROM tasks_taskrun
    WHERE trigger = 'request' GROUP BY status"""


def take(installed: Installation, count: int = 600, patience: float = 120) -> dict[str, Any]:
    """Run `count` tasks of many users, queued before the worker starts, so that their creation is not measured."""
    made = installed.script("benchmarks.seeding", "tasks", str(count))
    installed.live.spawn("worker", *_WORKER)
    worker = Meter([installed.live.processes["worker"].pid])
    deadline = time.monotonic() + patience
    try:
        with Span(worker=worker, stores=installed.stores) as span:
            while time.monotonic() < deadline:
                states = {status: (number_of, seconds) for status, number_of, seconds in installed.live.query(_STATES)}
                if not states.keys() & {"queued", "running", "scheduled"}:
                    break
                time.sleep(0.1)
            memory = worker.memory()
    finally:
        installed.live.stop("worker")
    done, seconds = states.get("succeeded", (0, 0))
    return {
        "count": count,
        "done": done,
        "states": {status: number_of for status, (number_of, _) in states.items()},
        "made_per_second": made["per_second"],
        "rate": done / float(seconds) if seconds else float("nan"),
        "worker_cpu_ms": span.cpu["worker"] * 1000 / max(done, 1),
        "stores_cpu_ms": span.cpu["stores"] * 1000 / max(done, 1),
        "worker_mb": memory / 2**20,
    }


def table(found: dict[str, Any]) -> str:
    heads = (
        "task runs", "succeeded", "saved and queued/s", "done/s", "worker's CPU ms each (its start included)", "stores' CPU ms each",
        "worker's MB, 5 processes",
    )  # fmt: skip
    row = (
        found["count"], found["done"], number(found["made_per_second"]), number(found["rate"]), number(found["worker_cpu_ms"]),
        number(found["stores_cpu_ms"]), number(found["worker_mb"], 0),
    )  # fmt: skip
    return markdown(heads, [row])
