"""The HTTP client of all adapters: a pooled aiohttp session per event loop.

docs/adr/0030-vendor-transport.md explains, with measurements, why the SDKs' own clients are not used. The client follows
no redirects, ignores the environment's proxies and credentials, decompresses nothing and bounds all bodies.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from types import SimpleNamespace

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from django.conf import settings
from multidict import CIMultiDict
from yarl import URL

from agents.providers.errors import ProviderBadResponse

# Limit of a whole JSON answer or error body. relay.py and sse_lines.py bound streams.
MAX_BODY_BYTES = 16 * 1024 * 1024
# Below the idle time-outs of vendors' load balancers, so that they do not close a connection that we are about to use.
_KEEPALIVE_SECONDS = 15.0
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


class Sent:
    """Whether a vendor request was sent: `done` is True once its headers were written to the connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


# For the next vendor call of this task; agents/calls/attempt.py sets it before each call.
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
    """Return the time-out of connecting; relay.py enforces the others."""
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
        connector._factory = functools.partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
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


_pools: dict[asyncio.AbstractEventLoop, _Pool] = {}


async def pool() -> _Pool:
    """Return the pool of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _pools.get(loop)
    if found is None or found.session.closed:
        for other in [one for one in list(_pools) if one.is_closed()]:
            _pools.pop(other, None)
        found = _pools[loop] = _Pool()
        await anext(found.keeper)
    return found


async def close() -> None:
    """Close the connections of the running event loop, for servers whose loop ends with the process."""
    found = _pools.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.keeper.aclose()
