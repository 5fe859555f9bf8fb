"""Each process's figures in Valkey, once a second: what `live` shows and what beat samples, over all processes and hosts.

A process writes its rates and gauges under its own name, and adds what it counted to the running minute's sums. What it
could not say while Valkey was away, it says when Valkey is back.
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
from typing import Any

import orjson
import psutil
import redis

from aiagents.core.ids import uuid7
from aiagents.core.metrics import counters as metrics
from aiagents.core.metrics import counting
from aiagents.core.metrics.counting import Totals
from aiagents.core.valkey import clients as valkey

log = logging.getLogger(__name__)
PROCESSES = "figures:processes"
EVERY = 1.0
# Rates are over so many seconds, latencies over so many.
RATE_SECONDS, LATENCY_SECONDS = 5, 60
# A process that has been silent so long (seconds) is not counted, and so long, forgotten.
SILENT, FORGOTTEN = 5.0, 60.0
MINUTE_KEPT = 900
COUNTS = ("requests", "errors", "calls", "failed_calls", "input_tokens", "output_tokens")
# Output that is being written now, by our own count: without it tokens would come in lumps, at the end of each call.
IN_FLIGHT = "tokens_in_flight"


def minute_key(minute: int) -> str:
    """The sums of one minute since 1970."""
    return f"figures:minute:{minute}"


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    totals: Totals
    produced: float


class Publisher:
    """One per process, on a thread of its own: a busy loop or a long task does not silence it."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid7().hex[-6:]}"
        self._past: deque[_Moment] = deque(maxlen=int(LATENCY_SECONDS / EVERY) + 1)
        self._said: Totals | None = None
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
        """Say where this process stands."""
        totals, gauges = counting.totals(), metrics.gauge_values()
        body = orjson.dumps(self._figures(totals, gauges))
        more = _difference(totals, self._said)
        pipe = valkey.sync_client().pipeline(transaction=False)
        pipe.hset(PROCESSES, self.name, body)  # type: ignore[arg-type]
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
        self._away, self._said = False, totals

    def _figures(self, totals: Totals, gauges: dict[str, float]) -> dict[str, Any]:
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


def _difference(now: Totals, said: Totals | None) -> dict[str, int]:
    """What was not said yet; `l0`, `l1`, … are the latency buckets."""
    found = {name: getattr(now, name) - (getattr(said, name) if said else 0) for name in COUNTS}
    for index, count in enumerate(now.latency):
        found[f"l{index}"] = count - (said.latency[index] if said else 0)
    return {name: amount for name, amount in found.items() if amount}


_publisher: Publisher | None = None


def install() -> None:
    """Give a forked child a publisher of its own: its parent's thread is not there."""
    os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    global _publisher
    _publisher = None


def keep(role: str) -> None:
    """Share this process's figures from now on; may be called again."""
    global _publisher
    if _publisher is None:
        _publisher = Publisher(role)
        _publisher.start()


# --- reading ------------------------------------------------------------------------------------


def living(raw: dict[bytes, bytes]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The figures of the processes that live, and the names of those to forget."""
    now, found, gone = time.time(), [], []
    for name, body in raw.items():
        one = orjson.loads(body)
        if now - one["at"] <= SILENT:
            found.append(one)
        elif now - one["at"] > FORGOTTEN:
            gone.append(name)
    return found, gone


def added(processes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several processes as one."""
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
