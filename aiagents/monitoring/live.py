"""What is going on right now, and the WebSocket that tells staff of it every second.

`LiveSocket` is given who may watch: live_access.py admits them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import redis

from aiagents.core import jsonio
from aiagents.core.errors import AppError
from aiagents.core.http.close_codes import NOT_AUTHENTICATED, TOO_LARGE, TOO_MANY, UNAVAILABLE
from aiagents.core.live import credential_watch
from aiagents.core.logs.context import accept_request_id, user_id
from aiagents.core.valkey import clients as valkey
from aiagents.monitoring import sharing, system

log = logging.getLogger(__name__)
PROTOCOL = "aiagents.v1"
# Seconds between two frames, for which a frame may wait for a slow reader, and for which the last one may.
EVERY, SLOW, GOODBYE = 1.0, 8.0, 1.0
# One reading serves all who watch on this loop.
FRESH = 0.9
MOST_SOCKETS, MOST_FRAMES, MOST_FRAME_BYTES = 50, 30, 1024

Source = Callable[[], Awaitable[Any]]
_sources: dict[str, tuple[Source, float]] = {}
_kept: dict[str, tuple[float, Any]] = {}


def source(name: str, read: Source, seconds: float) -> None:
    """Have the figures hold `await read()` under this name, asked at most every so many seconds. For upper floors."""
    _sources[name] = (read, seconds)


# --- the figures --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    at: float
    task: asyncio.Task[dict[str, Any]]


_readings: WeakKeyDictionary[asyncio.AbstractEventLoop, _Reading] = WeakKeyDictionary()


async def figures() -> dict[str, Any]:
    """The live figures over all processes, at most a second old. JSON; what nobody can say now is null.

    `complete` is false while Valkey is away: then only what the database and this process know is there.
    """
    loop = asyncio.get_running_loop()
    reading = _readings.get(loop)
    if reading is None or loop.time() - reading.at > FRESH or (reading.task.done() and _failed(reading.task)):
        reading = _readings[loop] = _Reading(loop.time(), asyncio.create_task(_read()))
    return await asyncio.shield(reading.task)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _read() -> dict[str, Any]:
    shared, *others = await asyncio.gather(_shared(), *(_from_source(name) for name in _sources))
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": at, **shared, **dict(zip(_sources, others, strict=True))}


async def _shared() -> dict[str, Any]:
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
    read, seconds = _sources[name]
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
_open: WeakKeyDictionary[asyncio.AbstractEventLoop, set[object]] = WeakKeyDictionary()


class LiveSocket:
    """An ASGI WebSocket application: `{"type": "figures", …}` every second until the viewer leaves or may not stay.

    Nothing is queued for a reader: who does not take a frame for SLOW seconds is closed (4429).
    """

    def __init__(self, admit: Admit) -> None:
        self._admit = admit

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Any) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = accept_request_id(headers.get("x-request-id"))
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            viewer = await self._admit(scope, headers)
        except AppError as exc:
            await _accept(scope, send)
            await _say(send, {"type": "error", **exc.body(request_id)})
            await send({"type": "websocket.close", "code": NOT_AUTHENTICATED if exc.status in (401, 403) else UNAVAILABLE})
            return
        if viewer is None:
            await send({"type": "websocket.close"})  # before accept: HTTP 403
            return
        user_id.set(viewer.name)
        await _accept(scope, send)
        here = _open.setdefault(asyncio.get_running_loop(), set())
        if len(here) >= MOST_SOCKETS:
            await send({"type": "websocket.close", "code": TOO_MANY})
            return
        mark = object()
        here.add(mark)
        try:
            await self._show(viewer, receive, send, request_id)
        finally:
            here.discard(mark)

    async def _show(self, viewer: Viewer, receive: Any, send: Any, request_id: str) -> None:
        """Until the first of these: the client leaves, the server ends it, or the viewer's credential or right ends."""
        ended = asyncio.Event()
        with credential_watch.watched(viewer, ended.set):
            listening, telling = asyncio.create_task(_listen(receive)), asyncio.create_task(_tell(send))
            expiring = asyncio.create_task(ended.wait())
            tasks = (expiring, telling, listening)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                code = NOT_AUTHENTICATED if ended.is_set() else telling.result() if telling.done() else listening.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if code == NOT_AUTHENTICATED:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await _say(send, {"type": "error", **credential_watch.CredentialEnded().body(request_id)})
        if code is not None:
            await send({"type": "websocket.close", "code": code})


async def _listen(receive: Any) -> int | None:
    """Frames from the client mean nothing here; too many or too large ones end it. None: it left."""
    frames = 0
    while (message := await receive())["type"] != "websocket.disconnect":
        frames += 1
        if len(message.get("text") or message.get("bytes") or "") > MOST_FRAME_BYTES:
            return TOO_LARGE
        if frames > MOST_FRAMES:
            return TOO_MANY
    return None


async def _tell(send: Any) -> int:
    """The figures, again and again; the close code for a reader that does not take them."""
    while True:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(SLOW):
                await _say(send, {"type": "figures", **await figures()})
        except TimeoutError:
            return TOO_MANY
        await asyncio.sleep(max(0.1, EVERY - (time.monotonic() - begun)))


async def _accept(scope: dict[str, Any], send: Any) -> None:
    await send({"type": "websocket.accept", "subprotocol": PROTOCOL if PROTOCOL in scope.get("subprotocols", []) else None})


async def _say(send: Any, frame: dict[str, Any]) -> None:
    await send({"type": "websocket.send", "text": jsonio.dumps(frame).decode()})
