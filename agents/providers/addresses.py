"""Where a vendor is asked and how the call is signed, as its SDK says it: the SDK is asked once per address, not per call.

An SDK builds the same URL and the same headers for every call of one key; building them anew costs a third of a whole call
(docs/adr/0030-vendor-transport.md). Bodies are ours anyway, and refusals go back to the SDK to be typed.
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
# The connection's business, or the body's.
_NOT_SIGNED = {"host", "content-length", "accept-encoding", "connection"}


@dataclass(frozen=True, slots=True)
class Address:
    """`client` is the SDK's: it types what the vendor refuses. `headers` hold the key."""

    url: URL
    headers: CIMultiDict[str]
    client: Any

    def __repr__(self) -> str:
        return f"Address({self.url})"


class _Addressed(BaseException):
    """The SDK has built its request; it is not sent. No SDK catches this to wrap or to repeat it."""

    def __init__(self, request: httpx2.Request) -> None:
        self.request = request


class _Surveyor(httpx2.AsyncClient):
    """What the SDKs get as their HTTP client: it opens no connection and looks into no environment."""

    def __init__(self) -> None:
        super().__init__(transport=httpx2.MockTransport(lambda _: httpx2.Response(500)), trust_env=False)

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        raise _Addressed(request)


_addresses: OrderedDict[Hashable, Address] = OrderedDict()
_clients: OrderedDict[Hashable, Any] = OrderedDict()


async def find(
    key: Hashable, client_key: Hashable, build: Callable[[httpx2.AsyncClient], Any], ask: Callable[[Any], Awaitable[Any]]
) -> Address:
    """The address known as `key`; else what `ask` makes the SDK client, known as `client_key` or made by `build`, address."""
    known = _addresses.get(key)
    if known is not None:
        return known
    client = _clients.get(client_key)
    if client is None:  # in a thread: one SDK's constructor reads certificates for 40 ms
        client = _clients[client_key] = await asyncio.to_thread(lambda: build(_Surveyor()))
        if len(_clients) > _MOST_CLIENTS:
            _clients.popitem(last=False)
    try:
        await ask(client)
    except _Addressed as found:
        request = found.request
    else:
        raise AssertionError("the SDK sends what it is asked to")
    headers = CIMultiDict((name, value) for name, value in request.headers.multi_items() if name.lower() not in _NOT_SIGNED)
    headers["accept-encoding"] = "identity"  # a compressed answer could not be bounded before it is unpacked
    found_address = _addresses[key] = Address(URL(str(request.url), encoded=True), headers, client)
    if len(_addresses) > _MOST_ADDRESSES:
        _addresses.popitem(last=False)
    return found_address
