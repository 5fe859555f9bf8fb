"""Runs asked for over HTTP: each in a task of its own in the process that took it, with any number of viewers.

Nobody's leaving ends one. A run that waits for a person is parked and goes on in a worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from agents.events import Event, RouteFallback, Settled, Started, Stopped, encode
from agents.models import AgentRun
from agents.runs import as_json as run_json
from agents.runs import store as run_store
from agents.runs.loop import RunPaused, error_json, written
from aiagents.core import jsonio
from aiagents.core.errors import AppError

logger = logging.getLogger(__name__)
Line = tuple[int, str, bytes]
# Bytes of one run's events that are kept for its viewers. A run with more goes on; its stream ends with StreamTooLong.
MOST_BYTES = 8 * 1024 * 1024


class StreamTooLong(AppError):
    """Ends the stream of a run that goes on; `details.read` is where the whole run is read."""

    code, status = "stream_too_long", 503

    def __init__(self, run_id: UUID) -> None:
        read = f"/api/v1/agents/runs/{run_id}"
        super().__init__(
            f"This stream ends after {MOST_BYTES} bytes of events. The run goes on and is stored: read it with GET {read}.",
            details={"run_id": str(run_id), "read": read},
        )


class LiveRun:
    """`row` and `told` are the run as it ended or was parked, once `ended`; `failure` is there when it broke off."""

    def __init__(self, run_id: UUID, source: AsyncGenerator[Event, None], request_id: str) -> None:
        self.id, self.request_id = run_id, request_id
        self.lines: list[Line] = []
        self.row: AgentRun | None = None
        self.told: dict[str, Any] = {}
        self.failure: AppError | None = None
        self.ended = asyncio.Event()
        self._source = source
        self._bytes = 0
        self._started = False
        self._cut = False
        self._held_back: list[RouteFallback] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._why = ""
        self.task = asyncio.create_task(self._run(), name=f"run {run_id}")

    async def view(self) -> AsyncGenerator[Line, None]:
        """The events from the first on, each when it happens; the last is `message.end` or `error`.

        A stream that became too long ends with an `error` although the run goes on.
        """
        position = 0
        while True:
            while position < len(self.lines):
                yield self.lines[position]
                position += 1
            if self._cut or self.ended.is_set():
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def finished(self) -> tuple[str, dict[str, Any]]:
        """The last event: `message.end` with the run, or `error`."""
        await self.ended.wait()
        return ending(self.row, self.told, self.failure, self.request_id)

    def interrupt(self) -> None:
        """The process leaves."""
        self.task.cancel("interrupted")

    async def _run(self) -> None:
        try:
            await self._follow()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            self.failure = AppError("The server was shut down while it ran.", code="interrupted")
        except Exception as exc:
            if not isinstance(exc, AppError):
                logger.exception("run_failed", extra={"run_id": str(self.id)})
            self.failure = exc if isinstance(exc, AppError) else AppError()
        try:
            await self._end()
        finally:
            self.ended.set()
            self._wake()

    async def _follow(self) -> None:
        try:
            async with aclosing(self._source) as events:
                async for event in events:
                    self._take(event)
        except RunPaused:
            return

    def _take(self, event: Event) -> None:
        match event:
            case Started() if not self._started:
                self._started = True
                self._say("message.start", {
                    "run_id": str(self.id), "model": event.model, "provider": event.provider, "route": event.route,
                })  # fmt: skip
                for fallback in self._held_back:
                    self._say(*encode(fallback))
            case RouteFallback() if not self._started:
                self._held_back.append(event)
            case Started() | Settled() | Stopped():
                return
            case _:
                self._say(*encode(event))  # type: ignore[arg-type]  # the door's own events were taken out above

    async def _end(self) -> None:
        await written(self.id)
        try:
            found = await run_store.persist(run_json.whole, self.id)
        except AppError as exc:
            self.failure, found = self.failure or exc, None
        if found is not None:
            self.row, self.told = found
        if not self._started:
            self._say("message.start", {"run_id": str(self.id), "model": "", "provider": "", "route": {}})
        kind, data = ending(self.row, self.told, self.failure, self.request_id)
        self._say(kind, data)

    def _say(self, kind: str, data: dict[str, Any]) -> None:
        if self._cut:
            return
        raw = jsonio.dumps(_clean(data))
        if kind not in ("message.start", "message.end", "error"):
            self._bytes += len(raw)
            if self._bytes > MOST_BYTES:
                self._cut = True
                error = error_json(StreamTooLong(self.id), self.request_id)
                kind, raw = "error", jsonio.dumps({"error": error, "run": None})
        self.lines.append((len(self.lines), kind, raw))
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


# Ends that are an answer, waiting for a person included; the others are an error.
WELL = (AgentRun.Status.SUCCEEDED, AgentRun.Status.CANCELLED, AgentRun.Status.WAITING_APPROVAL)
_runs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, LiveRun]] = WeakKeyDictionary()


def _here() -> dict[UUID, LiveRun]:
    return _runs.setdefault(asyncio.get_running_loop(), {})


def start(run_id: UUID, source: AsyncGenerator[Event, None], request_id: str) -> LiveRun:
    """The run, going on by itself from now."""
    here = _here()
    live = here[run_id] = LiveRun(run_id, source, request_id)
    live.task.add_done_callback(lambda _: here.pop(run_id, None))
    return live


def find(run_id: UUID) -> LiveRun | None:
    return _here().get(run_id)


def count() -> int:
    """Runs of this loop that have not ended."""
    return len(_here())


async def drain(seconds: float) -> None:
    """Let what runs end by itself for `seconds`; then end it as interrupted, everything kept and paid for."""
    tasks = {live.task for live in _here().values()}
    if not tasks:
        return
    _, running = await asyncio.wait(tasks, timeout=seconds - min(2.0, seconds / 4))
    for live in list(_here().values()):
        live.interrupt()
    if running:
        await asyncio.wait(running, timeout=3.0)


def _clean(data: dict[str, Any]) -> dict[str, Any]:
    return {name: jsonio.clean_text(value) if isinstance(value, str) else value for name, value in data.items()}


def ending(row: AgentRun | None, told: dict[str, Any], failure: AppError | None, request_id: str) -> tuple[str, dict[str, Any]]:
    """How a run's events end: with the run, or with what is wrong and the run as far as it came."""
    if row is not None and row.status in WELL:
        return "message.end", told
    stored = row.error if row is not None else None
    return "error", {"error": stored or error_json(failure or AppError(), request_id), "run": told or None}


async def shown(row: AgentRun, told: dict[str, Any]) -> AsyncGenerator[Line, None]:
    """A run that has ended, told by its row: one start and one end."""
    yield 0, "message.start", jsonio.dumps({"run_id": str(row.id), "model": row.model, "provider": "", "route": {}})
    kind, data = ending(row, told, None, row.request_id)
    yield 1, kind, jsonio.dumps(data)
