"""Graceful shutdown: a flag that the server sets at SIGTERM, and callbacks that wait for running work.

While the flag is set new turns get 503 with Retry-After. Running work has `settings.DRAIN_SECONDS` to end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)
Callback = Callable[[float], Awaitable[None]]
# Seconds for a client's Retry-After: by then another process serves the port.
RETRY_AFTER = 5

_active = False
registered_callbacks: list[Callback] = []


def begin() -> None:
    """Stop accepting new work in this process."""
    global _active
    _active = True


def active() -> bool:
    return _active


def on_drain(callback: Callback) -> Callback:
    """Register a callback: `await callback(seconds)` runs at shutdown with the others and should end within `seconds`."""
    registered_callbacks.append(callback)
    return callback


async def run(seconds: float) -> None:
    """Run all callbacks concurrently. One that fails or exceeds its time is logged and does not block the others."""
    await asyncio.gather(*(_guarded(callback, seconds) for callback in registered_callbacks))


async def _guarded(callback: Callback, seconds: float) -> None:
    try:
        # A callback should respect `seconds` itself; this time-out is for one that does not.
        await asyncio.wait_for(callback(seconds), seconds + 3)
    except Exception:
        log.exception("draining: %r failed", callback)


def reset() -> None:
    """Take new work again, as at start (tests)."""
    global _active
    _active = False
