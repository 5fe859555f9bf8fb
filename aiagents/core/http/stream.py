"""Server-Sent Events out of a generator: coalesced, kept alive, ended honestly, closed where it runs.

The generator runs in the request's own task (its first steps did already, in the handler: time-outs and context
variables belong to a task) and a second task sends. So a slow reader holds up the generator only when
`VIEWER_MAX_PENDING_BYTES` wait, and a reader that left or stalls ends it by cancelling the request's task. So does the end of the
credential that the request came with: no stream is made without that watch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from django.conf import settings

from aiagents.core.errors import AppError
from aiagents.core.http import sse
from aiagents.core.http.request import Request, Send
from aiagents.core.live import credential_watch

log = logging.getLogger(__name__)
# How a stream ended, for the access log.
COMPLETE, CLIENT_GONE, STALLED, FAILED, UNAUTHENTICATED = "complete", "client_gone", "stalled", "failed", "credential_ended"
# Seconds that a reader has to take the last event of a stream whose credential ended, before its connection is cut.
GOODBYE_SECONDS = 1.0


class Writer:
    """Sends in a task of its own what `put` was given, all that is ready at once, and a comment after silence."""

    def __init__(self, send: Send, start: dict[str, Any], lost: Callable[[str], None]) -> None:
        self._send, self._start, self._lost = send, start, lost
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._pending = 0
        # Half of what may wait for one reader waits here, the other half is what is being sent.
        self._limit = settings.VIEWER_MAX_PENDING_BYTES // 2
        self._ended = False
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._sending_since: float | None = None
        self._last = self._loop.time()
        self.bytes = 0
        self._timer = self._loop.call_later(settings.SSE_HEARTBEAT_SECONDS, self._tick)
        self.task = self._loop.create_task(self._run())
        self.task.add_done_callback(self._done)

    def put(self, part: bytes) -> bool:
        """Take a part; True when the reader is so far behind that the caller should wait for `room`."""
        self._parts.append(part)
        self._pending += len(part)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return self._pending >= self._limit

    async def room(self) -> None:
        """Return once what was put is being sent."""
        if self._pending >= self._limit:
            self._room = self._loop.create_future()
            await self._room

    async def end(self) -> None:
        """Return once all was sent, or the reader was lost."""
        self._ended = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        await asyncio.wait([self.task])

    def replace(self, part: bytes) -> None:
        """Send `part` as the last one, instead of what was not sent yet. A reader that does not take it is lost."""
        self._parts, self._pending, self._ended = [part], len(part), True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._timer.cancel()
        self._timer = self._loop.call_later(GOODBYE_SECONDS, lambda: self._lost(STALLED))

    def stop(self) -> None:
        self._timer.cancel()
        self.task.cancel()
        self._lost = _nobody  # whom we tell knows us: what knows each other waits for the collector

    async def _run(self) -> None:
        await self._send(self._start)
        while True:
            if not self._parts and not self._ended:
                self._wake = self._loop.create_future()
                await self._wake
                continue
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts, self._pending, last = [], 0, self._ended
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
            self._sending_since = self._loop.time()
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})
            self._sending_since, self._last = None, self._loop.time()
            self.bytes += len(body)
            if last:
                return

    def _tick(self) -> None:
        now, heartbeat, stall = self._loop.time(), settings.SSE_HEARTBEAT_SECONDS, settings.VIEWER_STALL_SECONDS
        if self._sending_since is not None:
            if now - self._sending_since >= stall:
                self._lost(STALLED)
                return
            wait = min(heartbeat, self._sending_since + stall - now)
        elif now - self._last >= heartbeat and not self._parts:
            self.put(sse.COMMENT)
            wait = heartbeat
        else:
            wait = self._last + heartbeat - now
        self._timer = self._loop.call_later(max(wait, 0.01), self._tick)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._timer.cancel()
        if not task.cancelled() and task.exception() is not None:
            self._lost(CLIENT_GONE)  # a server that says so by raising in `send`


def _nobody(reason: str) -> None:
    """Nobody is told any more."""


async def send_stream(
    request: Request, chunks: AsyncGenerator[bytes, None], send: Send, start: dict[str, Any], failure: Callable[[AppError], bytes]
) -> tuple[str, int]:
    """Send the whole stream. How it ended, and how many bytes were sent. `failure` makes the event that says why it ended early."""
    me = asyncio.current_task()
    assert me is not None
    lost_by: str | None = None
    pumping, unauthenticated, cancelled = True, False, False

    def cancel() -> None:
        nonlocal cancelled
        if pumping and not cancelled:
            cancelled = True
            me.cancel()

    def lost(reason: str) -> None:
        nonlocal lost_by
        if lost_by is None:
            lost_by = reason
            writer.stop()
            cancel()

    def credential_ended() -> None:
        nonlocal unauthenticated
        if lost_by is None and pumping:
            unauthenticated = True
            # Sent before the generator is closed: what it has to close, a vendor call for one, may take seconds.
            writer.replace(failure(credential_watch.CredentialEnded()))
            cancel()

    writer = Writer(send, start, lost)
    gone = request.watch()
    gone.add_done_callback(lambda _: lost(CLIENT_GONE))
    outcome = COMPLETE
    try:
        try:
            with credential_watch.watched(request.principal, credential_ended):
                async for chunk in chunks:
                    if cancelled:
                        break  # the generator swallowed our cancellation
                    if chunk and writer.put(chunk):
                        await writer.room()
        except asyncio.CancelledError:
            if not cancelled and me.cancelling():
                raise  # the server ends us
            outcome = FAILED
            if not cancelled:
                log.error("a stream's generator was cancelled from inside", exc_info=True)
                writer.put(failure(AppError()))
        except AppError as exc:
            outcome = FAILED
            if not unauthenticated:
                writer.put(failure(exc))
        except Exception:
            outcome = FAILED
            log.exception("a stream failed")
            if not unauthenticated:
                writer.put(failure(AppError()))
        finally:
            pumping = False
            if cancelled and me.cancelling():
                me.uncancel()
            await _close(chunks)
        if unauthenticated:
            outcome = UNAUTHENTICATED
        if lost_by is None:
            await writer.end()
        return outcome if unauthenticated else lost_by or outcome, writer.bytes
    finally:
        writer.stop()
        request.unwatch()


async def _close(chunks: AsyncGenerator[bytes, None]) -> None:
    try:
        await chunks.aclose()
    except Exception:
        log.exception("closing a stream failed")
