"""URLs and signed headers of vendor calls, as the vendor's SDK builds them: once per address, not once per call.

An SDK builds the same URL and headers for every call with one key. Building them anew costs a third of a whole call
(docs/adr/0030-vendor-transport.md). We write the bodies ourselves; the SDK turns refusals into its typed errors.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

import httpx2
from multidict import CIMultiDict
from yarl import URL

_MOST_ADDRESSES, _MOST_CLIENTS = 1024, 64
# Headers that belong to the connection or to the body.
_NOT_SIGNED = {"host", "content-length", "accept-encoding", "connection"}


@dataclass(frozen=True, slots=True)
class Address:
    """A vendor's URL and headers, which hold the key. `client` is the SDK's client; it builds the typed errors."""

    url: URL
    headers: CIMultiDict[str]
    client: Any

    def __repr__(self) -> str:
        return f"Address({self.url})"


class _RequestBuilt(BaseException):
    """Carries the SDK's request in place of sending it. No SDK catches a BaseException to wrap or retry it."""

    def __init__(self, request: httpx2.Request) -> None:
        self.request = request


class _OfflineClient(httpx2.AsyncClient):
    """The HTTP client for the SDKs: it opens no connection and reads no environment variables."""

    def __init__(self) -> None:
        super().__init__(transport=httpx2.MockTransport(lambda _: httpx2.Response(500)), trust_env=False)

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        raise _RequestBuilt(request)


_addresses: OrderedDict[Hashable, Address] = OrderedDict()
_clients: OrderedDict[Hashable, Any] = OrderedDict()


async def find(
    key: Hashable, client_key: Hashable, build: Callable[[httpx2.AsyncClient], Any], send: Callable[[Any], Awaitable[Any]]
) -> Address:
    """Return the address cached under `key`, or build it: `send` makes the SDK client build a request that is not sent.

    The client is cached under `client_key`; `build` creates it.
    """
    known = _addresses.get(key)
    if known is not None:
        return known
    client = _clients.get(client_key)
    if client is None:  # in a thread: one SDK's constructor reads certificates for 40 ms
        client = _clients[client_key] = await asyncio.to_thread(lambda: build(_OfflineClient()))
        if len(_clients) > _MOST_CLIENTS:
            _clients.popitem(last=False)
    try:
        await send(client)
    except _RequestBuilt as found:
        request = found.request
    else:
        raise AssertionError("the SDK must send a request")
    headers = CIMultiDict((name, value) for name, value in request.headers.multi_items() if name.lower() not in _NOT_SIGNED)
    headers["accept-encoding"] = "identity"  # the size of a compressed body is unknown until it is unpacked
    found_address = _addresses[key] = Address(URL(str(request.url), encoded=True), headers, client)
    if len(_addresses) > _MOST_ADDRESSES:
        _addresses.popitem(last=False)
    return found_address
