"""Signs of life of the parts that answer no request, and the samples that beat asks for."""

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
    """Every 10 s by beat, through each queue: that it runs at all shows that a worker takes work from there."""
    sync_client().set(queue_heartbeat(queue), time.time())


def published(**_: Any) -> None:
    """Only beat publishes the heartbeat: that it does shows that beat lives, whatever the worker does."""
    sync_client().set(HEARTBEATS["beat"], time.time())


@shared_task(ignore_result=True)
def sample() -> int:
    """Keep the figures of the minute that has just ended."""
    return system.sample()


@shared_task(ignore_result=True)
def sweep_metrics() -> int:
    """Make hours of old minutes, and drop what is kept no longer."""
    return system.compact()


def child_began(**_: Any) -> None:
    sharing.keep("worker")


def child_ends(**_: Any) -> None:
    # Celery's children leave without running exit handlers.
    metrics.flush()


def ready(sender: Any = None, **_: Any) -> None:
    # The parent of a prefork pool runs no task, and must not fork while a thread of ours holds a lock.
    pool = getattr(getattr(sender, "controller", None), "pool_cls", None)
    if "prefork" not in getattr(pool, "__module__", "prefork"):
        sharing.keep("worker")
