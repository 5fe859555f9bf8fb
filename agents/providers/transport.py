"""The one HTTP stack under all vendors' SDKs: a pooled aiohttp session per event loop, behind httpx2's interface.

Why not what the SDKs bring: docs/adr/ has the measurements. Redirects are not followed, proxies and credentials of the
environment are not used, nothing is decompressed, bodies are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from django.conf import settings
from yarl import URL

T = TypeVar("T")

# A whole JSON answer or error body; streams are bounded per event and by their relay.
MAX_BODY_BYTES = 16 * 1024 * 1024
# Below the idle time-outs of vendors' load balancers, so that a kept connection is not closed under our feet.
_KEEPALIVE_SECONDS = 15.0
_SDK_CLIENTS = 256
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


class Body(httpx2.AsyncByteStream):
    """A response's body. `content` is aiohttp's reader for those that read the stream themselves."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.content = response.content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        with network_errors():
            while data := await self.content.readany():
                size += len(data)
                if size > MAX_BODY_BYTES:
                    self.close()
                    raise httpx2.DecodingError("the body is too large")
                yield data

    def close(self) -> None:
        """At once, whatever is still to come; a body that was read to its end gives its connection back instead."""
        self.response.close()

    async def aclose(self) -> None:
        self.close()


class Transport(httpx2.AsyncBaseTransport):
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        connect = settings.LLM_CONNECT_TIMEOUT
        with network_errors():
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect),
            )
        body = Body(response)
        if response.headers.get("content-encoding", "identity") != "identity":
            body.close()  # we asked for none: a bomb, or a proxy that must not be there
            raise httpx2.DecodingError("the body is compressed, which was not asked for")
        return httpx2.Response(response.status, headers=list(response.raw_headers), stream=body, request=request)


class Client(httpx2.AsyncClient):
    """What the SDKs get as their `http_client`: straight to the transport, without auth flows, redirects and cookies."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        # `identity`: a compressed answer saves nothing on loopback or TLS pipes, and cannot be bounded before it is unpacked.
        super().__init__(transport=transport, trust_env=False, follow_redirects=False, headers={"accept-encoding": "identity"})

    async def send(self, request: httpx2.Request, *, stream: bool = False, **_: Any) -> httpx2.Response:
        response = await self._transport.handle_async_request(request)
        if not stream:
            await response.aread()
        return response


@contextlib.contextmanager
def network_errors() -> Iterator[None]:
    """aiohttp's errors as httpx2's, which the SDKs know."""
    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.SocketTimeoutError) as exc:
        raise httpx2.ConnectTimeout(str(exc)) from exc
    except aiohttp.ClientConnectorError as exc:
        raise httpx2.ConnectError(type(exc).__name__) from exc
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as exc:
        raise httpx2.UnsupportedProtocol(type(exc).__name__) from exc
    except aiohttp.ClientError as exc:
        raise httpx2.RemoteProtocolError(type(exc).__name__) from exc
    except OSError as exc:
        raise httpx2.ReadError(type(exc).__name__) from exc


class _Handler(ResponseHandler):
    """aiohttp forgets who reads a body whose chunked framing breaks (seen in 3.14): the reader would wait until its time-out."""

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        super().connection_lost(exc)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError("the body's framing is broken"))


class _Pool:
    """What one event loop owns: the session with its connections, and the SDKs' clients that share it."""

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, ttl_dns_cache=60)
        connector._factory = functools.partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
        self.session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False, timeout=_NO_LIMIT
        )
        self.http = Client(Transport(self.session))
        self.clients: OrderedDict[tuple[str, str, str], Any] = OrderedDict()
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


async def sdk_client(kind: str, base_url: str, api_key: str, build: Callable[[httpx2.AsyncClient], T]) -> T:
    """The SDK client of one (event loop, base URL, key), made by `build` on the loop's shared connections.

    The least recently used ones are forgotten, never closed: they own no connection, so calls in flight go on.
    """
    here = await pool()
    key = (kind, base_url, api_key)
    found = here.clients.get(key)
    if found is None:
        found = here.clients[key] = build(here.http)
        if len(here.clients) > _SDK_CLIENTS:
            here.clients.popitem(last=False)
    else:
        here.clients.move_to_end(key)
    return found


async def close() -> None:
    """Close the running loop's connections: for servers whose loop ends with the process."""
    found = _pools.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.keeper.aclose()
