"""The one flag that says: this process is leaving. Set by our server entry at SIGTERM, read at every door.

While it is set new turns get 503 + Retry-After, and what runs gets `settings.DRAIN_SECONDS` to end by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)
Callback = Callable[[float], Awaitable[None]]
# What a client is told to wait, in seconds: by then another process has the port.
RETRY_AFTER = 5

_active = False
_callbacks: list[Callback] = []


def begin() -> None:
    """From now on this process takes no new work."""
    global _active
    _active = True


def active() -> bool:
    return _active


def on_drain(callback: Callback) -> Callback:
    """Have `await callback(seconds)` run at shutdown, beside the others; it should be done within `seconds`."""
    _callbacks.append(callback)
    return callback


async def run(seconds: float) -> None:
    """Run every callback at once; one that fails or overstays is logged and never holds up the others."""
    await asyncio.gather(*(_guarded(callback, seconds) for callback in _callbacks))


async def _guarded(callback: Callback, seconds: float) -> None:
    try:
        # Its own time-out comes first; ours is for a callback that forgot it.
        await asyncio.wait_for(callback(seconds), seconds + 3)
    except Exception:
        log.exception("draining: %r failed", callback)


def reset() -> None:
    """Take new work again, as at start (tests)."""
    global _active
    _active = False
