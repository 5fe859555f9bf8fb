"""A small thread pool for short, blocking work of an event loop. It reuses the most recently used thread first.

concurrent.futures gives work to the thread that has been idle longest, through two futures and three callbacks. Here a
call costs one queue and one callback. A quiet process uses one thread: its memory, its database connection and that
connection's server process stay warm.
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

# Seconds that the process's exit waits for running work.
EXIT_WAIT_SECONDS = 10.0


class _Work(NamedTuple):
    context: Context
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]


class Threads:
    """At most `size` threads, started on demand. Work that arrives while all are busy is queued."""

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle: list[SimpleQueue[_Work | None]] = []
        self._backlog: deque[_Work] = deque()
        self._last: Callable[[], None] | None = None
        atexit.register(self._wait_at_exit)

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run `function()` with this task's context variables; return or raise what it does.

        A call that is cancelled before it starts does not run.
        """
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
            del work  # breaks a reference cycle: the error's traceback holds this frame, and the result holds the error

    def end(self, last: Callable[[], None]) -> None:
        """Finish the queued work, run `last` in every thread, and wait until all threads have ended."""
        with self._lock:
            self._last, idle, self._idle = last, self._idle, []
        for inbox in idle:
            inbox.put(None)
        for thread in self._threads:
            thread.join()
        atexit.unregister(self._wait_at_exit)

    def _live(self, inbox: SimpleQueue[_Work | None]) -> None:
        work = inbox.get()
        while work is not None:
            deliver = _run(work)
            with self._lock:
                work = self._backlog.popleft() if self._backlog else None
                wait = work is None and self._last is None
                if wait:
                    self._idle.append(inbox)
            deliver()  # after the thread is idle again: a caller that sends more work at once reuses this thread
            del deliver
            if wait:
                work = inbox.get()
        if self._last is not None:
            self._last()

    def _wait_at_exit(self) -> None:
        deadline = time.monotonic() + EXIT_WAIT_SECONDS
        while len(self._idle) < len(self._threads) and time.monotonic() < deadline:
            time.sleep(0.01)


def _run(work: _Work) -> Callable[[], None]:
    """Run the work; return a function that delivers its result or its error to the event loop."""
    if work.result.cancelled():
        return lambda: None
    try:
        return partial(_deliver, work, work.context.run(work.function), None)
    except BaseException as exc:
        try:
            return partial(_deliver, work, None, exc)
        finally:
            del work  # as above


def _deliver(work: _Work, value: Any, problem: BaseException | None) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop was closed: no caller waits any more
        work.loop.call_soon_threadsafe(_settle, work.result, value, problem)


def _settle(result: asyncio.Future[Any], value: Any, problem: BaseException | None) -> None:
    if result.done():
        return
    if problem is None:
        result.set_result(value)
    else:
        result.set_exception(problem)
