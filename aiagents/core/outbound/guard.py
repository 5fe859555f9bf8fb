"""Protection against SSRF for every URL that a person or a model may choose: tools, webhooks, MCP, base URLs.

`fetch` makes the request; `check_url` makes the same check without a request. The check is about the addresses that a name
resolves to, never its spelling. The connection goes only to a checked address (destinations.py, addresses.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from aiagents.core.errors import AppError, InvalidRequest
from aiagents.core.outbound import charsets
from aiagents.core.outbound.addresses import is_public, may_reach, same
from aiagents.core.outbound.destinations import BlockedUrl, Unresolvable, check_spelling, check_url, checked, joined, parse
from aiagents.core.outbound.inflating import Inflater, Malformed

__all__ = [
    "Answer",
    "BlockedUrl",
    "Limits",
    "OutboundFailed",
    "TooSlow",
    "Unresolvable",
    "WrongContent",
    "check_spelling",
    "check_url",
    "fetch",
    "is_public",
    "may_reach",
]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Headers that are sent on after a redirect to another origin; any other might be a secret.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
# Headers of the connection: a caller could otherwise send another length or host than was checked.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "accept-encoding"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_USER_AGENT = "aiagents/1.0"
tls_context = ssl.create_default_context()
log = logging.getLogger(__name__)


class OutboundFailed(AppError):
    """The server did not answer properly. The message never contains its response or the system's error text."""

    type, code, status = "upstream_error", "upstream_failed", 502
    retryable = True
    message = "The server could not be reached."


class TooSlow(OutboundFailed):
    code, status = "upstream_timeout", 504
    message = "The server did not answer in time."


class WrongContent(OutboundFailed):
    code = "upstream_content_type"
    retryable = False
    message = "The server answered with a content type that is not accepted."


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request. `seconds` covers all of it: DNS, connections, redirects and the last byte."""

    seconds: float = 20.0
    connect_seconds: float = 5.0
    # Bytes of the body after decompression; a longer one is cut (`Answer.truncated`).
    max_bytes: int = 2_000_000
    # Followed for GET and HEAD only; each target is checked.
    redirects: int = 5
    # Accepted media types by prefix, or by suffix if it begins with a +; empty: all.
    content_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `headers` have lower-case names; `url` is the URL after redirects."""

    status: int
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    truncated: bool = False

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The body as text, by the declared charset or UTF-8; invalid bytes are replaced."""
        match = re.search(r"charset=[\"']?([A-Za-z0-9._:-]{1,40})", self.headers.get("content-type", ""), re.IGNORECASE)
        return charsets.decode(self.body, match[1] if match else "")


async def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    limits: Limits | None = None,
    allow_private: bool = False,
) -> Answer:
    """Make a request and return the response, of any status.

    Raises BlockedUrl before a packet is sent; OutboundFailed or TooSlow when there is no complete response. Redirects are
    followed for GET and HEAD only. A redirect to another origin (scheme, host or port) keeps of `headers` only Accept,
    Accept-Language and User-Agent.
    """
    if method not in _METHODS:
        raise InvalidRequest("This method is not allowed.")
    limits = limits or Limits()
    given = _valid_headers(headers or {})
    target = parse(url, allow_private)
    left = limits.redirects if method in ("GET", "HEAD") else 0
    follows = left > 0
    try:
        async with asyncio.timeout(limits.seconds):
            while True:
                addresses = await checked(target, allow_private)
                answer, location = await _request(method, target, addresses, given, body, limits, allow_private, follows)
                if location is None:
                    return answer
                if not left:
                    raise OutboundFailed("The server redirects too often.", code="too_many_redirects")
                left -= 1
                following = joined(target, location, allow_private)
                if following.origin() != target.origin():
                    given = {name: value for name, value in given.items() if name in _HARMLESS}
                if following.raw_host != target.raw_host:
                    # `allow_private` is for the configured host, not for the target of its redirect.
                    allow_private = False
                    following = parse(str(following), False)
                target = following
    except TimeoutError as exc:
        raise TooSlow(f"The server did not answer within {limits.seconds:g} seconds.") from exc
    except BlockedUrl:
        # Log the host only: the path or query may contain secrets.
        log.warning("outbound_blocked", extra={"host": (target.raw_host or "")[:200]})
        raise


def _valid_headers(headers: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
            raise InvalidRequest(f"The header {name[:50]!r} cannot be set.", param="headers")
        if len(value) > 8000 or any((ord(char) < 32 and char != "\t") or ord(char) == 127 or ord(char) > 255 for char in value):
            raise InvalidRequest(f"The value of the header {name[:50]!r} is not valid.", param="headers")
        found[name.lower()] = value
    return found


class _Pinned(AbstractResolver):
    """Resolves every name to the checked addresses, so that there is no second look-up."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in self.addresses
        ]  # fmt: skip

    async def close(self) -> None:
        pass


@contextlib.asynccontextmanager
async def _session(addresses: list[str], allow_private: bool, limits: Limits) -> AsyncIterator[aiohttp.ClientSession]:
    """A new connection for each request, so that no request reuses one that was checked for another."""

    def dial(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, peer = address
        if not any(same(peer[0], address) for address in addresses) or not may_reach(peer[0], allow_private):
            raise BlockedUrl
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        resolver=_Pinned(addresses), use_dns_cache=False, force_close=True, socket_factory=dial, limit=1, ssl=tls_context
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=("Content-Type",),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds),
    ) as session:
        yield session


async def _request(
    method: str, target: URL, addresses: list[str], headers: dict[str, str], body: bytes | None,
    limits: Limits, allow_private: bool, follows: bool,
) -> tuple[Answer, str | None]:  # fmt: skip
    """Make one request without its redirects. Returns the response, and the Location that should be followed or None."""
    sent = {"user-agent": _USER_AGENT, "accept": "*/*"} | headers | {"accept-encoding": "gzip, deflate"}
    try:
        async with (
            _session(addresses, allow_private, limits) as session,
            session.request(method, target, headers=sent, data=body, allow_redirects=False) as response,
        ):
            found = {name.lower(): value for name, value in response.headers.items()}
            location = found.get("location") if follows and response.status in _REDIRECTS else None
            if location is not None:
                return Answer(response.status, str(target), found, b""), location
            kind = found.get("content-type", "").partition(";")[0].strip().lower()
            read = response.status >= 400 or not limits.content_types or _is_one_of(kind, limits.content_types)
            if not read and kind:
                raise WrongContent
            content, truncated = await _read(response, found.get("content-encoding", ""), limits.max_bytes)
            if content and not read:  # only an empty body may have no content type
                raise WrongContent
            return Answer(response.status, str(target), found, content, truncated), None
    except AppError:
        raise
    except TimeoutError:  # aiohttp's own are TimeoutErrors as well
        raise
    except Malformed:
        raise OutboundFailed("The server's response cannot be read.") from None
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise OutboundFailed from exc


def _is_one_of(kind: str, accepted: tuple[str, ...]) -> bool:
    return any(kind.endswith(one) if one.startswith("+") else kind.startswith(one) for one in accepted)


async def _read(response: aiohttp.ClientResponse, encoding: str, most: int) -> tuple[bytes, bool]:
    """At most `most` bytes of the decompressed body, and whether it was cut. It never decompresses more than that."""
    inflater = Inflater(encoding)
    found = bytearray()
    while data := await response.content.readany():
        found += inflater.open(data, most + 1 - len(found))
        if len(found) > most:
            response.close()
            return bytes(found[:most]), True
    inflater.finish()
    return bytes(found), False
