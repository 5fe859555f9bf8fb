"""Readiness: probes that run in parallel, each with its status and latency.

Higher layers register further probes: `health.register("providers", probe)`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil
from django.conf import settings
from django.db import connection

from aiagents.core import draining, storage
from aiagents.core.db.calls import in_db
from aiagents.core.valkey import clients as valkey
from aiagents.monitoring import supervised

log = logging.getLogger(__name__)
Status = Literal["ok", "starting", "degraded", "down"]
# The time-out of a probe in seconds, and the seconds for which one report is cached, so that requests are cheap.
PROBE_SECONDS = 3.0
KEEP_SECONDS = 1.0
# Seconds after which a heartbeat is stale: three were missed.
STALE_SECONDS = 35
# Workers and beat start together with the web server. For so many seconds a missing heartbeat counts as "starting".
STARTING_SECONDS = 35
began_at: float | None = None
HEARTBEATS = {"worker": "health:worker", "beat": "health:beat"}
LOW_DISK_BYTES = 500 * 1024 * 1024
LOW_MEMORY_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    status: Status
    details: dict[str, Any] = field(default_factory=dict)


Probe = Callable[[], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Report:
    """The state of all checks. `ready` is False when a required part is down or this process drains."""

    ready: bool
    body: dict[str, Any]

    def statuses(self) -> dict[str, Any]:
        """The statuses without figures, vendors' names and reasons, for the public."""
        checks = {name: {"status": check["status"]} for name, check in self.body["checks"].items()}
        return {"status": self.body["status"], "checks": checks}


# --- probes -------------------------------------------------------------------------------------


async def database() -> Finding:
    await in_db(_select)
    return Finding("ok")


def _select() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def store() -> Finding:
    await valkey.client().ping()
    return Finding("ok")


async def heartbeat(name: str) -> Finding:
    """Check the age of a heartbeat. A ping is not enough: a worker that answers pings may still take no work."""
    raw = await valkey.client().get(HEARTBEATS[name])
    if raw is None:
        return Finding(_status_without_heartbeat(), {"last_seen_seconds": None})
    age = max(0.0, time.time() - float(raw))
    return Finding("ok" if age < STALE_SECONDS else _status_without_heartbeat(), {"last_seen_seconds": round(age, 1)})


def _status_without_heartbeat() -> Status:
    """The status of a worker or beat without a heartbeat: "starting" soon after the start, else "down"."""
    return "starting" if began_at is not None and time.monotonic() - began_at < STARTING_SECONDS else "down"


def begin() -> None:
    """Note that the web server of this process starts now."""
    global began_at
    began_at = time.monotonic()


def queue_heartbeat(queue: str = "") -> str:
    """The Valkey key of a queue's heartbeat; the default queue's is the worker's."""
    default = queue in ("", settings.CELERY_TASK_DEFAULT_QUEUE)
    return HEARTBEATS["worker"] if default else f"{HEARTBEATS['worker']}:{queue}"


async def workers() -> Finding:
    """Down when no worker serves the default queue, degraded when none serves another; `starting` in the first seconds."""
    names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    seen = await valkey.client().mget([queue_heartbeat(name) for name in names])
    ages = {name: None if raw is None else round(max(0.0, time.time() - float(raw)), 1) for name, raw in zip(names, seen, strict=True)}
    lively = {name for name, age in ages.items() if age is not None and age < STALE_SECONDS}
    main = settings.CELERY_TASK_DEFAULT_QUEUE
    status: Status = "ok" if lively == set(names) else _status_without_heartbeat()
    if status == "down" and main in lively:
        status = "degraded"
    return Finding(status, {"last_seen_seconds": ages.get(main), "queues": ages})


async def disk() -> Finding:
    free = shutil.disk_usage(settings.DATA_DIR).free
    if storage.low():
        return Finding("down", {"free_bytes": free, "reason": "new work is refused"})
    return Finding("ok" if free > LOW_DISK_BYTES else "degraded", {"free_bytes": free})


async def memory() -> Finding:
    found = psutil.virtual_memory()
    return Finding("ok" if found.available > found.total * LOW_MEMORY_SHARE else "degraded", {"available_bytes": found.available})


registered_probes: dict[str, Probe] = {
    "database": database,
    "valkey": store,
    "worker": workers,
    "beat": lambda: heartbeat("beat"),
    "disk": disk,
    "memory": memory,
}
# Required to serve requests; a failure of any other probe only makes the status "degraded".
NEEDED = frozenset({"database", "valkey"})


def register(name: str, probe: Probe) -> None:
    """Add a probe, or replace one (tests)."""
    registered_probes[name] = probe


# --- the report ---------------------------------------------------------------------------------

_last: tuple[float, Report] | None = None


async def report() -> Report:
    """The results of all probes, at most KEEP_SECONDS old."""
    global _last
    if _last is not None and time.monotonic() - _last[0] < KEEP_SECONDS and not draining.active():
        return _last[1]
    names = list(registered_probes)
    results = await asyncio.gather(*(_run(registered_probes[name]) for name in names))
    checks = dict(zip(names, results, strict=True))
    for name, server in supervised.read(settings.DATA_DIR).items():
        if name in checks:
            checks[name]["server"] = server
    needed_up = all(checks[name]["status"] != "down" for name in NEEDED)
    found = {check["status"] for check in checks.values()}
    status = "draining" if draining.active() else _overall(found) if needed_up else "down"
    made = Report(needed_up and not draining.active(), {"status": status, "checks": checks})
    _last = (time.monotonic(), made)
    return made


def _overall(found: set[Status]) -> Status:
    if found <= {"ok"}:
        return "ok"
    return "starting" if found <= {"ok", "starting"} else "degraded"


async def _run(probe: Probe) -> dict[str, Any]:
    begun = time.perf_counter()
    try:
        finding = await asyncio.wait_for(probe(), PROBE_SECONDS)
    except TimeoutError:
        finding = Finding("down", {"reason": f"no answer within {PROBE_SECONDS:.0f} s"})
    except Exception as exc:
        # Only the class is public; a message could name hosts and users.
        log.warning("health probe failed: %s", exc)
        finding = Finding("down", {"reason": type(exc).__name__})
    return {"status": finding.status, "latency_ms": round((time.perf_counter() - begun) * 1000, 1), **finding.details}


def forget() -> None:
    """Drop the cached report (tests)."""
    global _last
    _last = None
