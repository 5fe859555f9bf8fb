"""A few threads for short, blocking work of an event loop: the one that was used last is used next.

concurrent.futures hands work to whichever thread has waited longest, through two futures and three callbacks. Here a call costs one
queue and one callback, and a quiet process keeps to one thread: its memory, its database connection and that connection's server
process stay warm.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

# What still runs when the process ends is waited for, at most so many seconds.
LEAVE_SECONDS = 10.0


class _Work(NamedTuple):
    context: Context
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]


class Threads:
    """At most `size` threads, begun as they are needed; what comes while all are busy waits its turn."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle: list[SimpleQueue[_Work | None]] = []
        self._backlog: deque[_Work] = deque()
        self._last: Callable[[], None] | None = None
        atexit.register(self._leave)

    async def run(self, function: Callable[[], Any]) -> Any:
        """What `function()` returns or raises, with this task's context variables. Cancelled before it began, it does not run."""
        loop = asyncio.get_running_loop()
        work = _Work(copy_context(), function, loop, loop.create_future())
        with self._lock:
            if self._idle:
                self._idle.pop().put(work)
            elif len(self._threads) < self._size:
                inbox: SimpleQueue[_Work | None] = SimpleQueue()
                inbox.put(work)
                thread = threading.Thread(target=self._live, args=(inbox,), name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
                thread.start()
                self._threads.append(thread)
            else:
                self._backlog.append(work)
        try:
            return await work.result
        finally:
            del work  # an error's traceback knows this frame, and the result knows the error

    def end(self, last: Callable[[], None]) -> None:
        """Have every thread do `last`, after what it still has to do, and wait until all have ended."""
        with self._lock:
            self._last, idle, self._idle = last, self._idle, []
        for inbox in idle:
            inbox.put(None)
        for thread in self._threads:
            thread.join()
        atexit.unregister(self._leave)

    def _live(self, inbox: SimpleQueue[_Work | None]) -> None:
        work = inbox.get()
        while work is not None:
            tell = _done(work)
            with self._lock:
                work = self._backlog.popleft() if self._backlog else None
                wait = work is None and self._last is None
                if wait:
                    self._idle.append(inbox)
            tell()  # now: who hears it and asks for more at once finds this very thread
            del tell
            if wait:
                work = inbox.get()
        if self._last is not None:
            self._last()

    def _leave(self) -> None:
        deadline = time.monotonic() + LEAVE_SECONDS
        while len(self._idle) < len(self._threads) and time.monotonic() < deadline:
            time.sleep(0.01)


def _done(work: _Work) -> Callable[[], None]:
    """Do it; what is returned tells how it went."""
    if work.result.cancelled():
        return lambda: None
    try:
        return partial(_tell, work, work.context.run(work.function), None)
    except BaseException as exc:
        try:
            return partial(_tell, work, None, exc)
        finally:
            del work  # as above


def _tell(work: _Work, value: Any, problem: BaseException | None) -> None:
    with contextlib.suppress(RuntimeError):  # its loop was closed: nobody waits any more
        work.loop.call_soon_threadsafe(_settle, work.result, value, problem)


def _settle(result: asyncio.Future[Any], value: Any, problem: BaseException | None) -> None:
    if result.done():
        return
    if problem is None:
        result.set_result(value)
    else:
        result.set_exception(problem)
