"""Request and response types of the asynchronous endpoints' handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from aiagents.core import idempotency
from aiagents.core.errors import AppError, InvalidRequest, NotFound
from aiagents.core.http import body_limits, content_coding, hosts, sse
from aiagents.core.http import headers as http_headers
from aiagents.core.http.client_address import client_ip
from aiagents.core.idempotency import Claim
from aiagents.core.jsonio import dumps, loads

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
T = TypeVar("T")
# Larger bodies are parsed in a thread, so that they do not block the event loop.
LARGE_BYTES = 128 * 1024


class ClientGone(Exception):
    """The client disconnected before its request was complete."""


class Request:
    """One HTTP request to an asynchronous endpoint. `claim` is set on idempotent routes when the client sent a key."""

    __slots__ = (
        "_body", "_gone", "_query", "_receive", "_watch",
        "claim", "client_ip", "headers", "max_body_bytes", "max_values", "method", "path", "path_args", "principal", "request_id", "scope",
        "stores_text",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, headers: dict[str, str], request_id: str) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = headers
        self.request_id = request_id
        self.path_args: dict[str, str] = {}
        self.principal: Any = None
        self.claim: Claim | None = None
        self.max_body_bytes = body_limits.bounded(body_limits.SMALL)
        self.max_values: int | None = None
        self.stores_text = True
        peer = scope.get("client")
        self.client_ip = client_ip(peer[0] if peer else "", headers)
        self._receive = receive
        self._body: bytes | None = None
        self._query: dict[str, str] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def id(self) -> UUID:
        """The id in the path. Raises NotFound if it is not a UUID."""
        try:
            return UUID(self.path_args["id"])
        except ValueError as exc:
            raise NotFound from exc

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of several with one name the last. Raises InvalidRequest for more than 100."""
        if self._query is None:
            try:
                pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=100)
            except ValueError as exc:
                raise InvalidRequest("There are too many query parameters.", param="query") from exc
            self._query = dict(pairs)
        return self._query

    async def body(self) -> bytes:
        """The whole body, unpacked in a thread if it is compressed.

        Raises PayloadTooLarge beyond `max_body_bytes`, packed or unpacked, even if its Content-Length is smaller, and
        UnsupportedCoding for an unknown Content-Encoding.
        """
        if self._body is None:
            raw = await self._read()
            if coding := self.headers.get("content-encoding", ""):
                raw = await asyncio.to_thread(content_coding.unpack, raw, coding, self.max_body_bytes)
            self._body = raw
        return self._body

    async def _read(self) -> bytes:
        limit = self.max_body_bytes
        announced = self.headers.get("content-length", "0")
        if announced.isdigit():
            body_limits.check_announced(announced, limit)
        parts, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise body_limits.too_large(limit)
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def json(self, *, most_values: int | None = None) -> dict[str, Any]:
        """The body as a JSON object, read strictly."""
        return await self.read(lambda value: value, most_values=most_values)

    async def read(self, reader: Callable[[dict[str, Any]], T], *, most_values: int | None = None) -> T:
        """The result of `reader` for the body's JSON object, parsed strictly. A large body is handled in a thread."""
        raw = await self.body()

        def whole() -> T:
            value = loads(raw, most_values=self.max_values if most_values is None else most_values, nul=not self.stores_text)
            if not isinstance(value, dict):
                raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
            return reader(value)

        return await asyncio.to_thread(whole) if len(raw) > LARGE_BYTES else whole()

    async def fingerprint(self) -> str:
        """The digest by which requests with one Idempotency-Key are compared: equal for the same request."""
        raw = await self.body()
        arguments = (self.method, self.path, raw)
        if len(raw) > LARGE_BYTES:
            return await asyncio.to_thread(idempotency.fingerprint, *arguments)
        return idempotency.fingerprint(*arguments)

    def watch(self) -> asyncio.Future[None]:
        """A future that is done once the client disconnected. Call it after `body`: both read the same channel."""
        if self._gone is None:
            loop = asyncio.get_running_loop()
            self._gone = loop.create_future()
            self._watch = loop.create_task(self._await_disconnect(self._gone))
        return self._gone

    async def _await_disconnect(self, gone: asyncio.Future[None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not gone.done():
            gone.set_result(None)

    def unwatch(self) -> None:
        """Stop watching for a disconnect, because the response was sent."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def gone(self) -> None:
        """Return once the client disconnected."""
        await self.body()
        await asyncio.shield(self.watch())

    def authority(self) -> None:
        """Raise InvalidRequest for ambiguous headers or paths, and for a Host that is not allowed."""
        http_headers.check(self.scope["headers"])
        hosts.check(self.headers, self.path)
        http_headers.check_target(self.scope.get("raw_path") or self.path.encode("utf-8", "surrogatepass"), self.scope["query_string"])


@dataclass(slots=True)
class Response:
    """A complete response."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class EventStream:
    """A `text/event-stream` response. `chunks` yields whole events as bytes and is always closed by the caller.

    The stream ends when the request's credential ends, even while `chunks` waits. `failure` makes the event for an early
    end in a vendor-compatible format; by default that is an `error` event with the route's error body.
    """

    chunks: AsyncGenerator[bytes, None]
    headers: dict[str, str] = field(default_factory=dict)
    failure: Callable[[AppError], bytes] | None = None
    # What is sent in silence; a stream that is no event stream needs another text than a comment.
    heartbeat: bytes = sse.COMMENT


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, dumps(value), headers=headers or {})
