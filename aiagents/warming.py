"""Slow imports, done before a web server answers requests or a worker takes tasks.

The vendors' SDKs alone take seconds, on a busy machine ten. An import inside a request would block the event loop: other
requests would wait, and a worker's runs would miss their heartbeats.
"""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections
from django.urls import get_resolver

from agents import providers
from agents.routing import connections as saved
from aiagents.core.errors import Unavailable

log = logging.getLogger(__name__)


@cache
def web() -> None:
    """Load what the first requests of a web server need. Blocks for seconds, once per process. Never raises."""
    begun = time.perf_counter()
    _ = get_resolver().url_patterns
    vendors()
    log.debug("loaded what first requests need", extra={"seconds": round(time.perf_counter() - begun, 1)})


def vendors() -> None:
    """Import the SDKs of the vendors that this installation can reach. It skips others, because all take 60 MB together."""
    kinds = {kind for kind, vendor in settings.VENDORS.items() if vendor["api_key"] or settings.SIMULATOR}
    try:
        kinds |= saved.kinds()
    except (DatabaseError, InterfaceError, Unavailable) as exc:
        log.warning("connections_not_read", extra={"reason": type(exc).__name__})
    finally:
        connections.close_all()
    providers.warm(kinds)


def worker(sender: Any = None, **_: Any) -> None:
    """Import the SDKs in the worker's parent process before it forks, so that its children share the memory."""
    served = set(sender.app.amqp.queues.consume_from) if sender is not None else set()
    if served != {"housekeeping"}:  # no sweep calls a vendor
        vendors()
