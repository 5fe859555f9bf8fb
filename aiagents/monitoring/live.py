"""What is going on right now, and the WebSocket that tells staff of it every second.

`LiveConsumer` is given who may watch: live_access.py admits them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary

import redis
from channels.exceptions import StopConsumer

from aiagents.core import jsonio
from aiagents.core.errors import AppError
from aiagents.core.http.close_codes import NOT_AUTHENTICATED, TOO_LARGE, TOO_MANY, UNAVAILABLE
from aiagents.core.http.websocket import SocketConsumer
from aiagents.core.live import credential_watch
from aiagents.core.logs.context import accept_request_id, user_id
from aiagents.core.valkey import clients as valkey
from aiagents.monitoring import shapes, sharing, system

log = logging.getLogger(__name__)
# Seconds between two frames, for which a frame may wait for a slow reader, and for which the last one may.
EVERY, SLOW, GOODBYE = 1.0, 8.0, 1.0
# One reading serves all who watch on this loop.
FRESH = 0.9
MOST_SOCKETS, MOST_FRAMES, MOST_FRAME_BYTES = 50, 30, 1024

Source = Callable[[], Awaitable[Any]]
registered_sources: dict[str, tuple[Source, float]] = {}
_kept: dict[str, tuple[float, Any]] = {}


def source(name: str, read: Source, seconds: float) -> None:
    """Add `await read()` to the figures under this name, read at most once in so many seconds. For the apps above."""
    registered_sources[name] = (read, seconds)


# --- the figures --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    at: float
    task: asyncio.Task[dict[str, Any]]


_readings: WeakKeyDictionary[asyncio.AbstractEventLoop, _Reading] = WeakKeyDictionary()


async def figures() -> dict[str, Any]:
    """The live figures over all processes, at most a second old. JSON; figures that are not known now are null.

    `complete` is false while Valkey is away: then only what the database and this process know is there.
    """
    loop = asyncio.get_running_loop()
    reading = _readings.get(loop)
    if reading is None or loop.time() - reading.at > FRESH or (reading.task.done() and _failed(reading.task)):
        reading = _readings[loop] = _Reading(loop.time(), asyncio.create_task(read_figures()))
    return await asyncio.shield(reading.task)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


async def read_figures() -> dict[str, Any]:
    shared, *others = await asyncio.gather(shared_figures(), *(_from_source(name) for name in registered_sources))
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": at, **shared, **dict(zip(registered_sources, others, strict=True))}


async def shared_figures() -> shapes.SharedFigures:
    names = system.queue_names()
    try:
        async with valkey.client().pipeline(transaction=False) as pipe:
            pipe.hgetall(sharing.PROCESSES)
            for name in names:
                pipe.llen(name)
            raw, *depths = await pipe.execute()
    except (redis.RedisError, OSError):
        return {"complete": False, **sharing.added([]), "queues": None, "queued": None}
    alive, _ = sharing.living(raw)
    return {"complete": True, **sharing.added(alive), "queues": dict(zip(names, depths, strict=True)), "queued": sum(depths)}


async def _from_source(name: str) -> Any:
    read, seconds = registered_sources[name]
    at, value = _kept.get(name, (float("-inf"), None))
    if time.monotonic() - at < seconds:
        return value
    try:
        value = await read()
    except Exception as exc:  # one part that is away must not darken the others
        log.warning("live_source_failed", extra={"source": name, "reason": type(exc).__name__})
        value = None
    _kept[name] = (time.monotonic(), value)
    return value


def forget() -> None:
    """Drop what is kept (tests)."""
    _kept.clear()
    _readings.clear()


# --- the socket ---------------------------------------------------------------------------------


class Viewer(Protocol):
    """An accepted viewer. `credential_ref` is what the watch over credentials checks: the credential, and the right to watch."""

    @property
    def name(self) -> str: ...

    @property
    def credential_ref(self) -> Any: ...


# admit(scope, headers): a viewer, None for an origin that is refused in the handshake, or NotAuthenticated / PermissionDenied.
Admit = Callable[[dict[str, Any], dict[str, str]], Awaitable[Viewer | None]]
open_views: WeakKeyDictionary[asyncio.AbstractEventLoop, set[object]] = WeakKeyDictionary()


class LiveConsumer(SocketConsumer):
    """`{"type": "figures", …}` every second until the viewer leaves or may not stay.

    Nothing is queued for a reader: one that does not take a frame for SLOW seconds is closed (4429).
    """

    def __init__(self, admit: Admit) -> None:
        super().__init__()
        self._admit = admit
        self._frames = 0
        self._may_watch = True

    async def connect(self) -> None:
        """Accept the handshake where `admit` lets the viewer in, and begin to send."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        self.request_id = accept_request_id(headers.get("x-request-id"))
        try:
            viewer = await self._admit(self.scope, headers)
        except AppError as exc:
            await self.accept_protocol()
            await self._send({"type": "error", **exc.body(self.request_id)})
            await self._stop(NOT_AUTHENTICATED if exc.status in (401, 403) else UNAVAILABLE)
        if viewer is None:
            await self.refuse()
        user_id.set(viewer.name)
        await self.accept_protocol()
        here = open_views.setdefault(asyncio.get_running_loop(), set())
        if len(here) >= MOST_SOCKETS:
            await self._stop(TOO_MANY)
        here.add(self)
        self.resources.callback(here.discard, self)
        self.resources.enter_context(credential_watch.watched(viewer, lambda: self.spawn(self._say_goodbye())))
        self.join("staff")
        self.spawn(self._send_figures())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Ignore the frame: none has a meaning here. Too many, or one that is too large, end the socket."""
        self._frames += 1
        if len(text_data or bytes_data or "") > MOST_FRAME_BYTES:
            await self._stop(TOO_LARGE)
        if self._frames > MOST_FRAMES:
            await self._stop(TOO_MANY)

    async def _stop(self, code: int) -> NoReturn:
        await self.close_with(code)
        raise StopConsumer

    async def _send_figures(self) -> None:
        """The figures, again and again. Close the socket of a reader that does not take them."""
        while self._may_watch and not self.closed:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(SLOW):
                    await self._send({"type": "figures", **await figures()})
            except TimeoutError:
                await self.close_with(TOO_MANY)
                return
            await asyncio.sleep(max(0.1, EVERY - (time.monotonic() - begun)))

    async def _say_goodbye(self) -> None:
        """The viewer's credential or right ended."""
        self._may_watch = False
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._send({"type": "error", **credential_watch.CredentialEnded().body(self.request_id)})
        await self.close_with(NOT_AUTHENTICATED)

    async def _send(self, frame: dict[str, Any]) -> None:
        if not self.closed:
            await self.send(jsonio.dumps(frame).decode())
