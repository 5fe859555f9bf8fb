"""Heartbeats of workers and beat, and beat's samples of the system's figures."""

from __future__ import annotations

import time
from typing import Any

from celery import shared_task

from aiagents.core.metrics import counters as metrics
from aiagents.core.valkey.clients import sync_client
from aiagents.monitoring import sharing, system
from aiagents.monitoring.health import HEARTBEATS, queue_heartbeat

HEARTBEAT = "aiagents.monitoring.tasks.heartbeat"


@shared_task(name=HEARTBEAT, expires=30)
def heartbeat(queue: str = "") -> None:
    """Beat sends it through each queue every 10 s; its execution shows that a worker serves the queue."""
    sync_client().set(queue_heartbeat(queue), time.time())


def published(**_: Any) -> None:
    """Record beat's heartbeat: only beat publishes this task."""
    sync_client().set(HEARTBEATS["beat"], time.time())


@shared_task(ignore_result=True)
def sample() -> int:
    """Store the figures of the minute that has just ended; return the number of new rows."""
    return system.sample()


@shared_task(ignore_result=True)
def sweep_metrics() -> int:
    """Merge old minutes into hours and delete expired hours; return the number of deleted rows."""
    return system.compact()


def child_began(**_: Any) -> None:
    sharing.keep("worker")


def child_ends(**_: Any) -> None:
    # Celery's children exit without running exit handlers.
    metrics.flush()


def ready(sender: Any = None, **_: Any) -> None:
    # The parent of a prefork pool runs no tasks, and must not fork while a thread of ours holds a lock.
    pool = getattr(getattr(sender, "controller", None), "pool_cls", None)
    if "prefork" not in getattr(pool, "__module__", "prefork"):
        sharing.keep("worker")
