"""Signs of life of the parts that answer no request."""

from __future__ import annotations

import time
from typing import Any

from celery import shared_task
from celery.signals import before_task_publish

from aiagents.lib.valkey import sync_client
from aiagents.monitoring.health import HEARTBEATS

HEARTBEAT = "aiagents.monitoring.tasks.heartbeat"


@shared_task(name=HEARTBEAT, expires=30)
def heartbeat() -> None:
    """Every 10 s by beat: that it runs at all shows that the worker takes work from the queue."""
    sync_client().set(HEARTBEATS["worker"], time.time())


@before_task_publish.connect(sender=HEARTBEAT)
def _published(**_: Any) -> None:
    """Only beat publishes the heartbeat: that it does shows that beat lives, whatever the worker does."""
    sync_client().set(HEARTBEATS["beat"], time.time())
