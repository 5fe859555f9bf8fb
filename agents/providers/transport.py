"""The HTTP client of all adapters: a pooled aiohttp session per event loop, and the event streams that it reads.

docs/adr/0030-vendor-transport.md explains, with measurements, why the SDKs' own clients are not used. The client follows
no redirects, ignores the environment's proxies and credentials, decompresses nothing and bounds all bodies.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from types import SimpleNamespace

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from django.conf import settings
from multidict import CIMultiDict
from yarl import URL

from agents.providers.errors import ProviderBadResponse, ProviderError, ProviderTimeout, ProviderTruncated, ProviderUnavailable

# Limit of a whole JSON answer or error body.
MAX_BODY_BYTES = 16 * 1024 * 1024
# All bytes of one stream, framing and keep-alives included.
MAX_STREAM_BYTES = 64 * 1024 * 1024
# An event has a few hundred bytes; images and long tool arguments are far below this.
MAX_EVENT_BYTES = 4 * 1024 * 1024
# Seconds to wait after the finish reason for usage and the end of the body, and then for the connection's reuse.
_AFTER_FINISH_SECONDS = 2.0
_DRAIN_SECONDS = 0.25
# Below the idle time-outs of vendors' load balancers, so that they do not close a connection that we are about to use.
_KEEPALIVE_SECONDS = 15.0
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


class Sent:
    """Whether a vendor request was sent: `done` is True once its headers were written to the connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


# For the next vendor call of this task; agents/calls/running.py sets it before each call.
sent: ContextVar[Sent | None] = ContextVar("sent", default=None)


async def _headers_sent(session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams) -> None:
    mark = context.trace_request_ctx
    if mark is not None:
        mark.done = True


class Reply:
    """A vendor's answer with its body unread. `content` is aiohttp's reader."""

    __slots__ = ("_response", "content", "received", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.content = response.content
        self.received = 0

    async def read(self) -> bytes:
        """Return the whole body; `received` counts its bytes. Raises ProviderBadResponse above the limit."""
        parts = []
        try:
            while data := await self.content.readany():
                self.received += len(data)
                if self.received > MAX_BODY_BYTES:
                    raise ProviderBadResponse("The model's vendor sent an answer that is too large.")
                parts.append(data)
        except BaseException:
            self.close()
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def for_sdk(self) -> httpx2.Response:
        """Return the answer as the SDKs' own response class, read to its end."""
        request = httpx2.Request("POST", str(self._response.url))
        return httpx2.Response(self.status, headers=list(self._response.raw_headers), content=await self.read(), request=request)

    def close(self) -> None:
        """Close the connection at once. A body that was read to its end has returned it to the pool already."""
        self._response.close()


async def post(url: URL, headers: CIMultiDict[str], content: bytes) -> Reply:
    """Post a body and return the answer, also for redirects and errors. Raises aiohttp's errors."""
    session = (await pool()).session
    response = await session.post(
        url, headers=headers, data=content, allow_redirects=False, timeout=_timeout(), trace_request_ctx=sent.get()
    )
    reply = Reply(response)
    if response.headers.get("content-encoding", "identity") != "identity":
        reply.close()  # we requested none: it may be a decompression bomb
        raise ProviderBadResponse("The model's vendor sent a compressed answer, which was not requested.")
    return reply


def _timeout() -> aiohttp.ClientTimeout:
    """Return the time-out of connecting; `Upstream` and relay.py enforce the others."""
    return _timeouts(settings.LLM_CONNECT_TIMEOUT)


@functools.cache
def _timeouts(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)


class _Handler(ResponseHandler):
    """Wakes the reader of a body whose chunked framing breaks. aiohttp 3.14 lets it wait until the time-out."""

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        super().connection_lost(exc)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError("the body's framing is broken"))


class _Pool:
    """The session of one event loop, with its connections."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, ttl_dns_cache=60)
        connector._factory = functools.partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # aiohttp has no public option for it
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_headers_sent)
        self.session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False, timeout=_NO_LIMIT,
            trace_configs=[trace],
        )  # fmt: skip
        self.keeper = self._close_with_loop()

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        """Close the session with the loop: asyncio closes suspended async generators before it closes a loop."""
        try:
            yield
        finally:
            await self.session.close()


pools_by_loop: dict[asyncio.AbstractEventLoop, _Pool] = {}


async def pool() -> _Pool:
    """Return the pool of the running event loop."""
    loop = asyncio.get_running_loop()
    found = pools_by_loop.get(loop)
    if found is None or found.session.closed:
        for other in [one for one in list(pools_by_loop) if one.is_closed()]:
            pools_by_loop.pop(other, None)
        found = pools_by_loop[loop] = _Pool()
        await anext(found.keeper)
    return found


async def close() -> None:
    """Close the connections of the running event loop, for servers whose loop ends with the process."""
    found = pools_by_loop.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.keeper.aclose()


class Upstream:
    """One open vendor stream. A single timer enforces the time-outs of first event, idle time and total time.

    Idle time is the time without a complete event while the reader waits for one. Single bytes do not end it, and a slow
    reader does not count. `framed`: `next` returns whole events in place of their payloads.
    """

    def __init__(self, reply: Reply, began: float, *, framed: bool = False) -> None:
        self._body = reply
        self._read = reply.content.readany
        self._splitter = EventSplitter(framed=framed)
        self._loop = asyncio.get_running_loop()
        self._size = 0
        self.started = False
        self._waiting = self._buffer_read = False
        self._last_event_at, self._patience, self._phase = began, settings.LLM_FIRST_TOKEN_TIMEOUT, "first_token"
        self._deadline = began + settings.LLM_TOTAL_TIMEOUT
        self._expired: ProviderTimeout | None = None
        self._timer = self._loop.call_at(min(began + self._patience, self._deadline), self._check)

    async def next(self) -> list[bytes] | None:
        """Return the payloads that arrived together; None at the end of the body."""
        self._waiting = True
        if self.started:
            self._last_event_at = self._loop.time()
        try:
            while True:
                try:
                    data = await self._read()
                except (aiohttp.ClientError, OSError) as exc:
                    data = self._unread()
                    if not data:
                        if last := self._splitter.rest():
                            return self._arrived(last)
                        raise self._expired or self._broken(exc) from exc
                if not data:
                    last = self._splitter.rest()
                    return self._arrived(last) if last else None
                self._size += len(data)
                if self._size > MAX_STREAM_BYTES:
                    raise ProviderBadResponse("The model's vendor sent an endless stream.")
                payloads = self._splitter.feed(data)
                if payloads is None:
                    continue
                self._last_event_at = self._loop.time()
                if payloads:
                    return self._arrived(payloads)
        finally:
            self._waiting = False

    def _arrived(self, payloads: list[bytes]) -> list[bytes]:
        if not self.started:
            self.started, self._phase = True, "idle"
            self._wait_for_at_most(settings.LLM_IDLE_TIMEOUT)
        return payloads

    def finished(self, seconds: float = _AFTER_FINISH_SECONDS) -> None:
        """The finish reason was seen: shorten the time for the rest of the body."""
        if seconds < self._patience:
            self._wait_for_at_most(seconds)

    async def rest(self) -> None:
        """Read to the end of the body so that the connection can be reused. A slow vendor's connection is closed."""
        self.finished(_DRAIN_SECONDS)
        try:
            while await self.next() is not None:
                pass
        except ProviderError:
            pass

    def close(self) -> None:
        self._timer.cancel()
        self._body.close()

    def _unread(self) -> bytes:
        """Return, once, the bytes that aiohttp had buffered when the connection broke: it raises before it returns them."""
        if self._buffer_read:
            return b""
        self._buffer_read = True
        content = self._body.content
        return b"".join(content._buffer)[content._buffer_offset :]

    def _broken(self, exc: Exception) -> ProviderError:
        cause = {"cause": type(exc).__name__}
        return ProviderTruncated(details=cause) if self.started else ProviderUnavailable(details=cause)

    def _check(self) -> None:
        now = self._loop.time()
        due = self._last_event_at + self._patience if self._waiting else now + self._patience
        if now >= self._deadline:
            self._expire("total")
        elif due <= now:
            self._expire(self._phase)
        else:
            self._timer = self._loop.call_at(min(due, self._deadline), self._check)

    def _wait_for_at_most(self, seconds: float) -> None:
        if seconds < self._patience:  # a longer time is seen when the timer fires
            self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._check)
        self._patience = seconds

    def _expire(self, phase: str) -> None:
        self._expired = ProviderTimeout(details={"phase": phase})
        self._body.close()  # wakes the reader with an error


class EventSplitter:
    """Splits network data of Server-Sent Events into the payloads (`data:`) of complete events. Creates no object per event.

    `feed` returns None if no event was completed, and an empty list if there were only comments (keep-alives).
    `framed`: it returns the events as they arrived, comments included, without the empty line that ends them.
    """

    __slots__ = ("_framed", "_limit", "_tail")

    def __init__(self, limit: int = MAX_EVENT_BYTES, *, framed: bool = False) -> None:
        self._tail = b""
        self._limit, self._framed = limit, framed

    def feed(self, data: bytes) -> list[bytes] | None:
        if self._tail:
            data = self._tail + data
        if b"\r" in data:  # Gemini's line ends; a CR without its LF stays in the tail
            data = data.replace(b"\r\n", b"\n")
        head, found, self._tail = data.rpartition(b"\n\n")
        if not found:
            if len(self._tail) > self._limit:
                raise ProviderBadResponse("The model's vendor sent an endless event.", details={"limit_bytes": self._limit})
            return None
        if self._framed:
            return [event for event in head.split(b"\n\n") if event]
        return [payload for event in head.split(b"\n\n") if (payload := payload_of(event))]

    def rest(self) -> list[bytes]:
        """Return, once, what stands after the last empty line, as `feed` does, for the end of the body. Torn events are left out.

        Some servers end the last event, or every event, with one line break or with none.
        """
        tail, self._tail = self._tail.replace(b"\r", b"\n").strip(b"\n"), b""
        events = [tail]
        if not _is_whole(payload_of(tail)):  # every `data:` line may be an event
            events, begun = [], b""
            for line in tail.split(b"\n"):
                begun += line + b"\n"
                if line.startswith(b"data:"):
                    events.append(begun.strip(b"\n"))
                    begun = b""
        whole = [event for event in events if _is_whole(payload_of(event))]
        return whole if self._framed else [payload_of(event).strip() for event in whole]


def _is_whole(payload: bytes) -> bool:
    """Return whether a payload without the end of its event is complete: `[DONE]`, or a JSON object, which shows its end."""
    payload = payload.strip()
    if payload == b"[DONE]":
        return True
    if not (payload.startswith(b"{") and payload.endswith(b"}")):
        return False
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return True


def payload_of(event: bytes) -> bytes:
    """Return the data of an event; empty for a comment."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
