"""Publishes each process's figures to Valkey once a second, for the live view and for beat's samples, over all hosts.

A process writes its rates and gauges under its name, and adds its counts to the sums of the current minute. Counts from
an outage of Valkey are added after it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
import psutil
import redis

from aiagents.core.ids import uuid7
from aiagents.core.metrics import counters as metrics
from aiagents.core.metrics import counting
from aiagents.core.metrics.counting import Totals
from aiagents.core.valkey import clients as valkey
from aiagents.monitoring.shapes import Figures, ProcessFigures

log = logging.getLogger(__name__)
PROCESSES = "figures:processes"
EVERY = 1.0
# Seconds that rates cover, and seconds that latencies cover.
RATE_SECONDS, LATENCY_SECONDS = 5, 60
# Seconds without an update after which a process is not counted, and after which its entry is deleted.
STALE_SECONDS, DELETE_SECONDS = 5.0, 60.0
MINUTE_KEPT = 900
COUNTS = ("requests", "errors", "calls", "failed_calls", "input_tokens", "output_tokens")
# The gauge of output tokens of running calls, by our estimate. Without it tokens would be counted only at the end of each call.
IN_FLIGHT = "tokens_in_flight"


def minute_key(minute: int) -> str:
    """The Valkey key with the sums of one minute; `minute` counts from 1970."""
    return f"figures:minute:{minute}"


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    totals: Totals
    produced: float


class Publisher:
    """Publishes the figures of one process from a separate thread, so that a busy event loop or a long task does not stop it."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid7().hex[-6:]}"
        self._past: deque[_Moment] = deque(maxlen=int(LATENCY_SECONDS / EVERY) + 1)
        self._published: Totals | None = None
        self._away = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="figures", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY)
            try:
                metrics.flush()
                self.publish()
            except Exception:
                log.exception("figures_failed")

    def publish(self) -> None:
        """Write the current figures to Valkey."""
        totals, gauges = counting.totals(), metrics.gauge_values()
        body = orjson.dumps(self._figures(totals, gauges))
        more = _difference(totals, self._published)
        pipe = valkey.sync_client().pipeline(transaction=False)
        pipe.hset(PROCESSES, self.name, body)  # type: ignore[arg-type]  # redis-py types sync and async answers alike
        pipe.expire(PROCESSES, 3600)
        if more:
            key = minute_key(int(time.time() // 60))
            for name, amount in more.items():
                pipe.hincrby(key, name, amount)
            pipe.expire(key, MINUTE_KEPT)
        try:
            pipe.execute()
        except redis.RedisError as exc:
            if not self._away:
                log.warning("figures_not_shared", extra={"reason": type(exc).__name__})
            self._away = True
            return
        self._away, self._published = False, totals

    def _figures(self, totals: Totals, gauges: dict[str, float]) -> ProcessFigures:
        now = _Moment(time.monotonic(), totals, totals.output_tokens + gauges.get(IN_FLIGHT, 0))
        self._past.append(now)
        then = next(moment for moment in self._past if now.at - moment.at <= RATE_SECONDS + EVERY / 2)
        first, seconds = self._past[0].totals, now.at - then.at
        return {
            "at": time.time(),
            "role": self.role,
            "memory_bytes": psutil.Process().memory_info().rss,
            "gauges": gauges,
            "rates": {
                "requests": _rate(totals.requests - then.totals.requests, seconds),
                "calls": _rate(totals.calls - then.totals.calls, seconds),
                "tokens": _rate(max(0.0, now.produced - then.produced), seconds),
            },
            "minute": {
                "errors": totals.errors - first.errors,
                "failed_calls": totals.failed_calls - first.failed_calls,
                "latency": [new - old for new, old in zip(totals.latency, first.latency, strict=True)],
            },
        }


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0


def _difference(now: Totals, published: Totals | None) -> dict[str, int]:
    """The counts that are not published yet; `l0`, `l1`, … are the latency buckets."""
    found = {name: getattr(now, name) - (getattr(published, name) if published else 0) for name in COUNTS}
    for index, count in enumerate(now.latency):
        found[f"l{index}"] = count - (published.latency[index] if published else 0)
    return {name: amount for name, amount in found.items() if amount}


_publisher: Publisher | None = None


def install() -> None:
    """Let a forked child start another publisher, because its parent's thread does not exist there."""
    os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    global _publisher
    _publisher = None


def keep(role: str) -> None:
    """Publish this process's figures from now on; repeated calls do nothing."""
    global _publisher
    if _publisher is None:
        _publisher = Publisher(role)
        _publisher.start()


# --- reading ------------------------------------------------------------------------------------


def living(raw: dict[bytes, bytes]) -> tuple[list[ProcessFigures], list[bytes]]:
    """The figures of the live processes, and the names of those whose entries should be deleted."""
    now, gone = time.time(), []
    found: list[ProcessFigures] = []
    for name, body in raw.items():
        one = orjson.loads(body)
        if now - one["at"] <= STALE_SECONDS:
            found.append(one)
        elif now - one["at"] > DELETE_SECONDS:
            gone.append(name)
    return found, gone


def added(processes: Iterable[ProcessFigures]) -> Figures:
    """The figures of several processes added up."""
    every = list(processes)
    latency = [sum(counts) for counts in zip(*(one["minute"]["latency"] for one in every), strict=True)]
    gauges: dict[str, float] = {}
    for one in every:
        for name, value in one["gauges"].items():
            gauges[name] = gauges.get(name, 0) + value
    return {
        "processes": {role: sum(one["role"] == role for one in every) for role in ("web", "worker")},
        "memory_bytes": sum(one["memory_bytes"] for one in every),
        "requests_per_second": round(sum(one["rates"]["requests"] for one in every), 2),
        "calls_per_second": round(sum(one["rates"]["calls"] for one in every), 2),
        "tokens_per_second": round(sum(one["rates"]["tokens"] for one in every), 1),
        "errors_last_minute": sum(one["minute"]["errors"] for one in every),
        "failed_calls_last_minute": sum(one["minute"]["failed_calls"] for one in every),
        "latency": counting.percentiles(latency),
        "running_turns": int(gauges.get("running_turns", 0)),
        "open_sockets": int(gauges.get("open_sockets", 0)),
    }
