"""The one HTTP stack under all adapters: a pooled aiohttp session per event loop.

Why not what the SDKs bring: docs/adr/0030-vendor-transport.md has the measurements. Redirects are not followed, proxies and
credentials of the environment are not used, nothing is decompressed, bodies are bounded.
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

# A whole JSON answer or error body; streams are bounded per event and by their relay.
MAX_BODY_BYTES = 16 * 1024 * 1024
# Below the idle time-outs of vendors' load balancers, so that a kept connection is not closed under our feet.
_KEEPALIVE_SECONDS = 15.0
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


class Sent:
    """Whether a vendor request went out: `done` once its headers were written to the connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


# Of the vendor call that this task makes next; agents/calls/attempt.py sets it before each.
sent: ContextVar[Sent | None] = ContextVar("sent", default=None)


async def _headers_sent(session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams) -> None:
    mark = context.trace_request_ctx
    if mark is not None:
        mark.done = True


class Reply:
    """A vendor's answer, its body unread. `content` is aiohttp's reader."""

    __slots__ = ("_response", "content", "received", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.content = response.content
        self.received = 0

    async def read(self) -> bytes:
        """The whole body, bounded. `received` counts its bytes as they come."""
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
        """The same as the SDKs know it, read to its end."""
        request = httpx2.Request("POST", str(self._response.url))
        return httpx2.Response(self.status, headers=list(self._response.raw_headers), content=await self.read(), request=request)

    def close(self) -> None:
        """At once, whatever is still to come; a body that was read to its end gave its connection back already."""
        self._response.close()


async def post(url: URL, headers: CIMultiDict[str], content: bytes) -> Reply:
    """Raises aiohttp's errors; redirects are answers."""
    session = (await pool()).session
    response = await session.post(
        url, headers=headers, data=content, allow_redirects=False, timeout=_timeout(), trace_request_ctx=sent.get()
    )
    reply = Reply(response)
    if response.headers.get("content-encoding", "identity") != "identity":
        reply.close()  # we asked for none: a bomb, or a proxy that must not be there
        raise ProviderBadResponse("The model's vendor sent a compressed answer, which was not asked for.")
    return reply


def _timeout() -> aiohttp.ClientTimeout:
    """For connecting; what comes after has clocks of its own (relay.py)."""
    return _timeouts(settings.LLM_CONNECT_TIMEOUT)


@functools.cache
def _timeouts(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)


class _Handler(ResponseHandler):
    """aiohttp forgets who reads a body whose chunked framing breaks (seen in 3.14): the reader would wait until its time-out."""

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        super().connection_lost(exc)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError("the body's framing is broken"))


class _Pool:
    """What one event loop owns: the session with its connections."""

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
        """Suspended for the loop's life: asyncio closes its async generators before it closes a loop."""
        try:
            yield
        finally:
            await self.session.close()


_pools: dict[asyncio.AbstractEventLoop, _Pool] = {}


async def pool() -> _Pool:
    """The running loop's pool."""
    loop = asyncio.get_running_loop()
    found = _pools.get(loop)
    if found is None or found.session.closed:
        for other in [one for one in list(_pools) if one.is_closed()]:
            _pools.pop(other, None)
        found = _pools[loop] = _Pool()
        await anext(found.keeper)
    return found


async def close() -> None:
    """Close the running loop's connections: for servers whose loop ends with the process."""
    found = _pools.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.keeper.aclose()
