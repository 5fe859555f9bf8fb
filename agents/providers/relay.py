"""The base of all adapters: it posts to the SDK's address, reads raw bytes, watches the time-outs and closes at once.

It starts no task.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import aiohttp
import httpx2
from django.conf import settings

from agents.events import Event
from agents.messages import CompletionRequest, EmbeddingRequest
from agents.providers import addresses, transport
from agents.providers.addresses import Address
from agents.providers.answer import Answer
from agents.providers.base import Target
from agents.providers.errors import (
    ProviderBadRequest,
    ProviderBadResponse,
    ProviderError,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnavailable,
)
from agents.providers.sse_lines import EventSplitter
from agents.providers.transport import Reply
from aiagents.core import jsonio

# Seconds to wait after the finish reason for usage and the end of the body, and then for the connection's reuse.
_AFTER_FINISH_SECONDS = 2.0
_DRAIN_SECONDS = 0.25
# All bytes of one stream, framing and keep-alives included.
MAX_STREAM_BYTES = 64 * 1024 * 1024


class HttpProvider(ABC):
    """An adapter defines the SDK's address of a call, the body, the parser of the answer and the SDK's errors."""

    kind: str

    @abstractmethod
    def client(self, target: Target, http: httpx2.AsyncClient) -> Any:
        """Return the vendor's SDK client for this key and address, on the given HTTP client."""

    @abstractmethod
    async def send_sample(self, client: Any, target: Target, *, stream: bool) -> None:
        """Make the SDK build a request of this kind. Every such call uses its URL and headers."""

    @abstractmethod
    def payload(self, request: CompletionRequest, target: Target, *, stream: bool) -> dict[str, Any]:
        """Return the request's JSON body."""

    @abstractmethod
    async def sdk_error(self, client: Any, response: httpx2.Response) -> Exception:
        """Return the SDK's error for a refusal."""

    def key_parts(self, target: Target) -> tuple[str, str]:
        """Return what the SDK client and the address depend on beside key and base URL, for their cache keys."""
        return "", ""

    async def address(self, target: Target, *, stream: bool) -> Address:
        of_client, of_address = self.key_parts(target)
        client_key = (self.kind, target.base_url, target.api_key, of_client)
        return await addresses.find(
            (*client_key, of_address, stream), client_key,
            partial(self.client, target), lambda client: self.send_sample(client, target, stream=stream),
        )  # fmt: skip

    async def post(self, address: Address, content: bytes) -> Reply:
        """Return the vendor's answer with its body unread. Raises the SDK's error for a refusal."""
        reply = await transport.post(address.url, address.headers, content)
        if not 200 <= reply.status < 300:
            raise await self.sdk_error(address.client, await reply.for_sdk())
        return reply

    async def read_whole(self, address: Address, content: bytes, seconds: float) -> bytes:
        """Return the body of one JSON answer.

        An answer that breaks off after the vendor's 200 raises an error with `answered`, because it may be charged for.
        """
        reply: Reply | None = None
        try:
            async with limit(seconds, "total"):
                reply = await self.post(address, content)
                try:
                    return await reply.read()
                except (aiohttp.ClientError, OSError) as exc:
                    raise ProviderTruncated(details={"cause": type(exc).__name__}) from exc
        except ProviderError as exc:
            if reply is not None:
                exc.answered = True
                exc.details["received_bytes"] = reply.received
            raise

    @abstractmethod
    def answer(self, target: Target) -> Answer:
        """Return a new parser."""

    @abstractmethod
    def translate(self, exc: Exception, target: Target) -> ProviderError | None:
        """Return our error for the SDK's; None for any other exception."""

    async def stream(self, request: CompletionRequest, target: Target) -> AsyncGenerator[Event, None]:
        answer, loop = self.answer(target), asyncio.get_running_loop()
        with self.errors(target):
            address = await self.address(target, stream=True)
            content = jsonio.dumps(self.payload(request, target, stream=True))
            began = loop.time()
            async with limit(settings.LLM_FIRST_TOKEN_TIMEOUT, "first_token"):
                reply = await self.post(address, content)
            upstream = Upstream(reply, began)
            try:
                try:
                    while not answer.closed and (payloads := await upstream.next()) is not None:
                        for event in answer.feed(payloads):
                            yield event
                        if answer.error is not None:
                            raise answer.error
                        if answer.finish is not None:
                            upstream.finished()
                except (ProviderTimeout, ProviderTruncated):
                    if answer.finish is None:  # else the text is complete and only usage is missing
                        raise
                if not upstream.started:
                    raise ProviderBadResponse("The model's vendor sent no event at all.")
                for event in answer.end():
                    yield event
                await upstream.rest()
            finally:
                upstream.close()

    async def whole(self, request: CompletionRequest, target: Target) -> AsyncGenerator[Event, None]:
        answer = self.answer(target)
        # No byte arrives until the whole answer is written, so the time allowed grows with the output limit.
        allowed = settings.LLM_FIRST_TOKEN_TIMEOUT + settings.LLM_WHOLE_SECONDS_PER_TOKEN * request.output_limit(target.max_output_tokens)
        with self.errors(target):
            address = await self.address(target, stream=False)
            content = jsonio.dumps(self.payload(request, target, stream=False))
            body = await self.read_whole(address, content, min(allowed, settings.LLM_TOTAL_TIMEOUT))
            for event in answer.feed_whole(body):
                yield event

    async def embed(self, request: EmbeddingRequest, target: Target) -> AsyncGenerator[Event, None]:
        """Raise ProviderBadRequest: only an EmbeddingProvider makes vectors."""
        with self.errors(target):
            raise ProviderBadRequest("This model's vendor makes no embeddings.", param="model")
        yield  # makes this function a generator

    @contextmanager
    def errors(self, target: Target) -> Iterator[None]:
        """Translate the exceptions of SDK, HTTP client and network into ProviderErrors."""
        try:
            yield
        except ProviderError as exc:
            raise _with_vendor(exc, target) from exc.__cause__
        except Exception as exc:
            found = self.translate(exc, target) or network_error(exc)
            if found is None:
                raise
            # Not chained: a log would print the cause, which holds the vendor's raw text and perhaps our key.
            raise _with_vendor(found, target) from None


def _with_vendor(error: ProviderError, target: Target) -> ProviderError:
    error.details.setdefault("vendor", target.provider)
    error.details.setdefault("vendor_model", target.model)
    if target.api_key:
        error.message = error.message.replace(target.api_key, "[removed]")
    return error


def network_error(exc: BaseException) -> ProviderError | None:
    """Return our error for aiohttp's; None for any other exception."""
    match exc:
        case aiohttp.ConnectionTimeoutError() | aiohttp.SocketTimeoutError():
            return ProviderTimeout(details={"phase": "connect"})
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return ProviderUnavailable("The vendor's address is not valid.")
        case aiohttp.ClientError() | OSError():
            return ProviderUnavailable(details={"cause": type(exc).__name__})
    return None


class limit:
    """`asyncio.timeout` that raises ProviderTimeout with the phase that ran out."""

    def __init__(self, seconds: float, phase: str) -> None:
        self._timeout, self._phase = asyncio.timeout(seconds), phase

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        try:
            await self._timeout.__aexit__(*exc)
        except TimeoutError as error:
            raise ProviderTimeout(details={"phase": self._phase}) from error


class Upstream:
    """One open vendor stream. A single timer enforces the time-outs of first event, idle time and total time.

    Idle time is the time without a complete event while the reader waits for one. Single bytes do not end it, and a slow
    reader does not count.
    """

    def __init__(self, reply: Reply, began: float) -> None:
        self._body = reply
        self._read = reply.content.readany
        self._splitter = EventSplitter()
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
                        raise self._expired or self._broken(exc) from exc
                if not data:
                    return None
                self._size += len(data)
                if self._size > MAX_STREAM_BYTES:
                    raise ProviderBadResponse("The model's vendor sent an endless stream.")
                payloads = self._splitter.feed(data)
                if payloads is None:
                    continue
                self._last_event_at = self._loop.time()
                if payloads:
                    if not self.started:
                        self.started = True
                        self._patience, self._phase = settings.LLM_IDLE_TIMEOUT, "idle"
                    return payloads
        finally:
            self._waiting = False

    def finished(self, seconds: float = _AFTER_FINISH_SECONDS) -> None:
        """The finish reason was seen: shorten the time for the rest of the body."""
        if seconds < self._patience:
            self._patience = seconds
            self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._check)

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

    def _expire(self, phase: str) -> None:
        self._expired = ProviderTimeout(details={"phase": phase})
        self._body.close()  # wakes the reader with an error
