"""Bounded waits for a condition. Tests use these instead of guessing how long something takes."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 30, every: float = 0.02) -> T:
    """Block until `condition` returns something true, and return that. Once the time is over, return the false value: assert it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    return found


async def until(condition: Callable[[], T | Awaitable[T]], seconds: float = 30, every: float = 0.01) -> T:
    """Wait until `condition` returns something true, and return that. It may be a coroutine function. Fails once the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        assert time.monotonic() < deadline, f"the condition did not come true within {seconds} s"
        await asyncio.sleep(every)
