"""Send Server-Sent Events from a generator: coalesced, with heartbeats, and closed in every case.

The generator runs in the request's task, because time-outs and context variables belong to a task and its first steps ran
there. A second task sends. So a slow client blocks the generator only when `VIEWER_MAX_PENDING_BYTES` are pending. A client
that disconnects or stalls cancels the request's task; so does the end of the request's credential.
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
# Seconds that a client has to receive the last event after its credential ended, before the connection is closed.
LAST_EVENT_SECONDS = 1.0


class Writer:
    """Sends the parts given to `put` in a separate task, all pending ones at once, and a comment when idle."""

    def __init__(self, send: Send, start: dict[str, Any], lost: Callable[[str], None], heartbeat: bytes = sse.COMMENT) -> None:
        self._send, self._start, self._lost, self._heartbeat = send, start, lost, heartbeat
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._pending = 0
        # Half of the pending bytes of a client are queued here, the other half are being sent.
        self._limit = settings.VIEWER_MAX_PENDING_BYTES // 2
        self._ended = False
        self._wake: asyncio.Future[None] | None = None
        self._capacity: asyncio.Future[None] | None = None
        self._sending_since: float | None = None
        self._last = self._loop.time()
        self.bytes = 0
        self._timer = self._loop.call_later(settings.SSE_HEARTBEAT_SECONDS, self._tick)
        self.task = self._loop.create_task(self._run())
        self.task.add_done_callback(self._done)

    def put(self, part: bytes) -> bool:
        """Queue a part. Returns True when so much is pending that the caller should await `drain`."""
        self._parts.append(part)
        self._pending += len(part)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return self._pending >= self._limit

    async def drain(self) -> None:
        """Return once the queued parts are being sent."""
        if self._pending >= self._limit:
            self._capacity = self._loop.create_future()
            await self._capacity

    async def end(self) -> None:
        """Return once everything was sent, or the client was lost."""
        self._ended = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        await asyncio.wait([self.task])

    def replace(self, part: bytes) -> None:
        """Send `part` as the last one, instead of the queued parts. A client that does not receive it is lost."""
        self._parts, self._pending, self._ended = [part], len(part), True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._timer.cancel()
        self._timer = self._loop.call_later(LAST_EVENT_SECONDS, lambda: self._lost(STALLED))

    def stop(self) -> None:
        self._timer.cancel()
        self.task.cancel()
        self._lost = _ignore  # breaks the reference cycle with the callback

    async def _run(self) -> None:
        await self._send(self._start)
        while True:
            if not self._parts and not self._ended:
                self._wake = self._loop.create_future()
                await self._wake
                continue
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts, self._pending, last = [], 0, self._ended
            if self._capacity is not None and not self._capacity.done():
                self._capacity.set_result(None)
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
            self.put(self._heartbeat)
            wait = heartbeat
        else:
            wait = self._last + heartbeat - now
        self._timer = self._loop.call_later(max(wait, 0.01), self._tick)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._timer.cancel()
        if not task.cancelled() and task.exception() is not None:
            self._lost(CLIENT_GONE)  # some servers report a disconnect by raising in `send`


def _ignore(reason: str) -> None:
    """Do nothing: the writer has stopped."""


async def send_stream(
    request: Request,
    chunks: AsyncGenerator[bytes, None],
    send: Send,
    start: dict[str, Any],
    failure: Callable[[AppError], bytes],
    heartbeat: bytes = sse.COMMENT,
) -> tuple[str, int]:
    """Send the whole stream. Returns how it ended and the number of bytes sent. `failure` makes the event for an early end."""
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
            # Sent before the generator is closed: closing a vendor call may take seconds.
            writer.replace(failure(credential_watch.CredentialEnded()))
            cancel()

    writer = Writer(send, start, lost, heartbeat)
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
                        await writer.drain()
        except asyncio.CancelledError:
            if not cancelled and me.cancelling():
                raise  # the server cancelled the request
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
