"""The runs of this process, one watch per event loop: it sends their heartbeats and stops those that were ended elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings

from agents.models import AgentRun
from agents.runs import store as run_store
from agents.runs.store import RunCancelled, RunEnded
from aiagents.core.db.calls import in_db
from aiagents.core.live import liveness

T = TypeVar("T")


class OutOfTime(Exception):
    """The run has used all its seconds."""


class Watched:
    """A run's clock, with the means to end it from outside."""

    def __init__(self, run_id: UUID, seconds: float, used: float = 0.0) -> None:
        self.run_id, self._allowed, self._used = run_id, seconds, used
        self._since: float | None = asyncio.get_running_loop().time()
        self._scope: asyncio.Timeout | None = None
        self.ended: RunEnded | None = None
        # Returns the run's text so far, if only its row keeps that text.
        self.text: Callable[[], str] | None = None
        self._kept = ""

    def new_text(self) -> str | None:
        """Return the whole text so far if there is new text since the last call, else None."""
        text = self.text() if self.text else ""
        if text == self._kept:
            return None
        self._kept = text
        return text

    @property
    def used(self) -> float:
        """Return the seconds used so far, without the wait for a person."""
        return self._used + (0.0 if self._since is None else asyncio.get_running_loop().time() - self._since)

    @property
    def left(self) -> float:
        return max(0.0, self._allowed - self.used)

    def stop_clock(self) -> None:
        self._used, self._since = self.used, None

    def start_clock(self) -> None:
        self._since = asyncio.get_running_loop().time()

    async def within(self, work: Awaitable[T], *, timed: bool = True) -> T:
        """Return the result of `work`. Raises OutOfTime when the run's time is over, RunEnded if the run is ended from outside.

        Work that is cut off here has been cancelled and has ended.
        """
        if self.ended is not None:
            if asyncio.iscoroutine(work):
                work.close()
            raise self.ended
        try:
            async with asyncio.timeout(self.left if timed else None) as scope:
                self._scope = scope
                return await work
        except TimeoutError:
            if not scope.expired():
                raise
            raise (self.ended or OutOfTime()) from None
        finally:
            self._scope = None

    def end(self, ended: RunEnded) -> None:
        self.ended = self.ended or ended
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())


class _Watch:
    def __init__(self) -> None:
        self.runs: dict[UUID, Watched] = {}
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        while self.runs:
            await asyncio.sleep(settings.PROGRESS_INTERVAL_SECONDS)
            living = list(self.runs)
            texts = {run_id: text for run_id, run in self.runs.items() if (text := run.new_text()) is not None}
            work = in_db(run_store.beat, living, texts)
            _, ended = await liveness.beat(work, "agents", living, settings.AGENT_SILENCE_SECONDS)
            for run_id, status in (ended or {}).items():
                if run_id in self.runs:
                    self.runs[run_id].end(RunCancelled() if status == AgentRun.Status.CANCELLED else RunEnded(code="interrupted"))


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


def begin(run_id: UUID, seconds: float, used: float = 0.0) -> Watched:
    """Watch a run of this loop until `leave`."""
    watch = _watches.setdefault(asyncio.get_running_loop(), _Watch())
    watched = watch.runs[run_id] = Watched(run_id, seconds, used)
    if watch.task is None or watch.task.done():
        watch.task = asyncio.create_task(watch.run(), name="agents watch")
    return watched


def leave(run_id: UUID) -> None:
    if watch := _watches.get(asyncio.get_running_loop()):
        watch.runs.pop(run_id, None)
