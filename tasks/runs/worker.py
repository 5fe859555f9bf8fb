"""The event loop of a worker process, in a thread of its own: Celery's slots pass runs to it and are free at once.

A run that was passed on is acknowledged to the broker. It cannot get lost: its row is `running`, and the sweeper takes a
row without heartbeats (docs/adr/0050-many-runs-in-one-worker.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from django.conf import settings

from agents.calls import running as running_calls
from tasks.runs.execute import Crew

logger = logging.getLogger(__name__)
# Seconds that a slot waits for a full process; then the row stays queued and beat sends it again.
_ROOM_WAITS = 30.0


class Worker:
    """The worker of a process; see the module."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.crew: Crew
        self._loop = uvloop.new_event_loop()
        self._room = threading.BoundedSemaphore(settings.TASK_RUNS_PER_PROCESS)
        self._leaving = False
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="task runs", daemon=True)
        self._thread.start()
        ready.wait()

    def hand_over(self, work: Callable[[Crew], Coroutine[Any, Any, None]]) -> bool:
        """Start `work` on the loop and return at once. False: the process is full or stops."""
        if self._leaving or not self._room.acquire(timeout=_ROOM_WAITS):
            return False
        try:
            asyncio.run_coroutine_threadsafe(self._do(work), self._loop)
        except BaseException:
            self._room.release()
            raise
        return True

    def leave(self, seconds: float) -> None:
        """Take no more runs, end or hand back the present ones, and end the loop."""
        if self._leaving:
            return
        self._leaving = True
        try:
            asyncio.run_coroutine_threadsafe(self._end(seconds), self._loop).result(seconds + 15)
        except Exception:
            logger.exception("task_worker_left_in_disorder")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self.crew = Crew()
        self._loop.call_soon(ready.set)
        self._loop.run_forever()

    async def _do(self, work: Callable[[Crew], Coroutine[Any, Any, None]]) -> None:
        try:
            await work(self.crew)
        except Exception:
            logger.exception("handed_over_work_failed")
        finally:
            self._room.release()

    async def _end(self, seconds: float) -> None:
        await self.crew.leave(seconds)
        await asyncio.wait_for(running_calls.finish_settlements(), 5)


_worker: Worker | None = None
_making = threading.Lock()


def here() -> Worker:
    """Return this process's worker, which starts with its first run. A forked child gets its own."""
    global _worker
    with _making:
        if _worker is None or _worker.pid != os.getpid():
            _worker = Worker()
        return _worker


def leave(**_: Any) -> None:
    """End this process's worker, if it has one. Receives Celery's signals of a process that ends."""
    if _worker is not None and _worker.pid == os.getpid():
        _worker.leave(settings.TASK_DRAIN_SECONDS)
