"""The way of every adapter: post as the SDK addresses it, read raw bytes, watch the clocks, close at once. No task of its own."""

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
from agents.providers.base import Target, output_limit
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

# After the terminal mark only usage and the end of the body are awaited.
_AFTER_THE_END = 2.0
_FOR_THE_CONNECTION = 0.25
# All bytes of one stream, framing and keep-alives included.
MAX_STREAM_BYTES = 64 * 1024 * 1024


class HttpProvider(ABC):
    """An adapter is: how the SDK addresses a call, what is sent, how the answer is read, what the SDK's errors mean."""

    kind: str

    @abstractmethod
    def client(self, target: Target, http: httpx2.AsyncClient) -> Any:
        """The vendor's SDK for this key and address, on the given HTTP client."""

    @abstractmethod
    async def ask(self, client: Any, target: Target, *, stream: bool) -> None:
        """Make the SDK send some call of the kind: its URL and headers are what every such call gets."""

    @abstractmethod
    def payload(self, request: CompletionRequest, target: Target, *, stream: bool) -> dict[str, Any]:
        """The request's JSON body."""

    @abstractmethod
    async def refused(self, client: Any, response: httpx2.Response) -> Exception:
        """The SDK's own error for an answer that is none."""

    def names(self, target: Target) -> tuple[str, str]:
        """What of the target stands in the SDK client and in the address, beside key and base URL."""
        return "", ""

    async def address(self, target: Target, *, stream: bool) -> Address:
        of_client, of_address = self.names(target)
        client_key = (self.kind, target.base_url, target.api_key, of_client)
        return await addresses.find(
            (*client_key, of_address, stream), client_key,
            partial(self.client, target), lambda client: self.ask(client, target, stream=stream),
        )  # fmt: skip

    async def post(self, address: Address, content: bytes) -> Reply:
        """The vendor's answer with its body unread; the SDK's error for a refusal."""
        reply = await transport.post(address.url, address.headers, content)
        if not 200 <= reply.status < 300:
            raise await self.refused(address.client, await reply.for_sdk())
        return reply

    async def read_whole(self, address: Address, content: bytes, seconds: float) -> bytes:
        """The body of one JSON answer.

        An answer that breaks off after the vendor's 200 raises an error with `answered`: it was written, and may be charged for.
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
        """A fresh parser."""

    @abstractmethod
    def translate(self, exc: Exception, target: Target) -> ProviderError | None:
        """The SDK's error as ours; None for one that is not the SDK's."""

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
                    if answer.finish is None:  # else the text is whole, only the vendor's last words are missing
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
        # Nothing is heard until all is written: the allowance grows with what may be written.
        allowed = settings.LLM_FIRST_TOKEN_TIMEOUT + settings.LLM_WHOLE_SECONDS_PER_TOKEN * output_limit(request, target)
        with self.errors(target):
            address = await self.address(target, stream=False)
            content = jsonio.dumps(self.payload(request, target, stream=False))
            body = await self.read_whole(address, content, min(allowed, settings.LLM_TOTAL_TIMEOUT))
            for event in answer.feed_whole(body):
                yield event

    async def embed(self, request: EmbeddingRequest, target: Target) -> AsyncGenerator[Event, None]:
        """For vendors that make vectors, `embedding.EmbeddingProvider` says how; this one makes none."""
        with self.errors(target):
            raise ProviderBadRequest("This model's vendor makes no embeddings.", param="model")
        yield  # what makes this a generator, as the others are

    @contextmanager
    def errors(self, target: Target) -> Iterator[None]:
        """Everything that SDK, HTTP stack and network raise, as ours."""
        try:
            yield
        except ProviderError as exc:
            raise _signed(exc, target) from exc.__cause__
        except Exception as exc:
            found = self.translate(exc, target) or network_error(exc)
            if found is None:
                raise
            # The cause is not chained: its text, printed by a log, holds the vendor's raw words and perhaps our key.
            raise _signed(found, target) from None


def _signed(error: ProviderError, target: Target) -> ProviderError:
    error.details.setdefault("vendor", target.provider)
    error.details.setdefault("vendor_model", target.model)
    if target.api_key:
        error.message = error.message.replace(target.api_key, "[removed]")
    return error


def network_error(exc: BaseException) -> ProviderError | None:
    """aiohttp's error as ours."""
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
    """One open vendor stream. A single timer watches first event, silence and the whole; it is moved, not remade.

    Silence is the time without a complete event while somebody waits for one: a drip of bytes is silence, a slow reader is not.
    """

    def __init__(self, reply: Reply, began: float) -> None:
        self._body = reply
        self._read = reply.content.readany
        self._splitter = EventSplitter()
        self._loop = asyncio.get_running_loop()
        self._size = 0
        self.started = False
        self._waiting = self._salvaged = False
        self._heard, self._patience, self._phase = began, settings.LLM_FIRST_TOKEN_TIMEOUT, "first_token"
        self._deadline = began + settings.LLM_TOTAL_TIMEOUT
        self._expired: ProviderTimeout | None = None
        self._timer = self._loop.call_at(min(began + self._patience, self._deadline), self._check)

    async def next(self) -> list[bytes] | None:
        """The payloads that arrived together; None at the end of the body."""
        self._waiting = True
        if self.started:
            self._heard = self._loop.time()
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
                    raise ProviderBadResponse("The model's vendor sends without end.")
                payloads = self._splitter.feed(data)
                if payloads is None:
                    continue
                self._heard = self._loop.time()
                if payloads:
                    if not self.started:
                        self.started = True
                        self._patience, self._phase = settings.LLM_IDLE_TIMEOUT, "idle"
                    return payloads
        finally:
            self._waiting = False

    def finished(self, seconds: float = _AFTER_THE_END) -> None:
        """The terminal mark was seen: whatever follows has little time."""
        if seconds < self._patience:
            self._patience = seconds
            self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._check)

    async def rest(self) -> None:
        """Read to the end of the body, so that the connection can be used again; a vendor that dawdles loses it."""
        self.finished(_FOR_THE_CONNECTION)
        try:
            while await self.next() is not None:
                pass
        except ProviderError:
            pass

    def close(self) -> None:
        self._timer.cancel()
        self._body.close()

    def _unread(self) -> bytes:
        """What arrived before the connection broke: aiohttp raises before it gives it out. Once; then nothing is left."""
        if self._salvaged:
            return b""
        self._salvaged = True
        content = self._body.content
        return b"".join(content._buffer)[content._buffer_offset :]

    def _broken(self, exc: Exception) -> ProviderError:
        cause = {"cause": type(exc).__name__}
        return ProviderTruncated(details=cause) if self.started else ProviderUnavailable(details=cause)

    def _check(self) -> None:
        now = self._loop.time()
        due = self._heard + self._patience if self._waiting else now + self._patience
        if now >= self._deadline:
            self._expire("total")
        elif due <= now:
            self._expire(self._phase)
        else:
            self._timer = self._loop.call_at(min(due, self._deadline), self._check)

    def _expire(self, phase: str) -> None:
        self._expired = ProviderTimeout(details={"phase": phase})
        self._body.close()  # wakes the reader with an error
