"""The base of all adapters: it posts to the SDK's address, reads raw bytes, watches the time-outs and closes at once.

It starts no task. An SDK builds the same URL and headers for every call with one key; building them anew costs a third
of a whole call (docs/adr/0030-vendor-transport.md). So the SDK builds them once per address, and we keep them. We write
the bodies ourselves; the SDK turns refusals into its typed errors.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import httpx2
import orjson
from django.conf import settings
from multidict import CIMultiDict
from yarl import URL

from agents.events import Event, RuleApplied, UsageReport
from agents.messages import CompletionRequest, EmbeddingRequest
from agents.providers import transport
from agents.providers.answer import Answer
from agents.providers.base import Target
from agents.providers.errors import (
    ProviderBadRequest,
    ProviderBadResponse,
    ProviderError,
    ProviderModelRule,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnavailable,
)
from agents.providers.native import NativeReader
from agents.providers.parts import fit_names
from agents.providers.transport import Reply, Upstream
from aiagents.core import jsonio

MOST_ADDRESSES, _MOST_CLIENTS = 1024, 64
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


@dataclass(frozen=True, slots=True)
class Sending:
    """One request to a vendor: its address, body and further headers, and the parser of its answer."""

    address: Address
    answer: Answer | NativeReader
    content: bytes
    headers: tuple[tuple[str, str], ...]


known_addresses: OrderedDict[Hashable, Address] = OrderedDict()
_clients: OrderedDict[Hashable, Any] = OrderedDict()


class HttpProvider(ABC):
    """An adapter defines the SDK's address of a call, the body, the parser of the answer and the SDK's errors."""

    kind: str
    # The names of tools that the vendor takes.
    tool_name = re.compile(r"[a-zA-Z0-9_-]{1,64}")

    @abstractmethod
    def client(self, target: Target, http: httpx2.AsyncClient) -> Any:
        """Return the vendor's SDK client for this key and address, on the given HTTP client."""

    @abstractmethod
    async def send_sample(self, client: Any, target: Target, *, stream: bool) -> None:
        """Make the SDK build a request of this kind. Every such call uses its URL and headers."""

    @abstractmethod
    def payload(self, request: CompletionRequest, target: Target, *, stream: bool) -> Mapping[str, Any]:
        """Return the request's JSON body."""

    @abstractmethod
    async def sdk_error(self, client: Any, response: httpx2.Response) -> Exception:
        """Return the SDK's error for a refusal."""

    def native_content(self, request: CompletionRequest, target: Target, *, stream: bool) -> bytes | None:
        """Return the client's own body with the model and the limits of this call; None if it is of another dialect."""
        return None

    def native_reader(self, answer: Answer, request: CompletionRequest, target: Target) -> NativeReader:
        """Return the reader that passes the vendor's answer on."""
        return NativeReader(answer, target)

    def key_parts(self, target: Target) -> tuple[str, str]:
        """Return what the SDK client and the address depend on beside key and base URL, for their cache keys."""
        return "", ""

    async def address(self, target: Target, *, stream: bool) -> Address:
        """Return the URL and headers of such calls, cached: at first `send_sample` has the SDK build a request that is not sent."""
        of_client, of_address = self.key_parts(target)
        client_key = (self.kind, target.base_url, target.api_key, of_client)
        key = (*client_key, of_address, stream)
        known = known_addresses.get(key)
        if known is not None:
            return known
        client = _clients.get(client_key)
        if client is None:  # in a thread: one SDK's constructor reads certificates for 40 ms
            client = _clients[client_key] = await asyncio.to_thread(lambda: self.client(target, _OfflineClient()))
            if len(_clients) > _MOST_CLIENTS:
                _clients.popitem(last=False)
        try:
            await self.send_sample(client, target, stream=stream)
        except _RequestBuilt as built:
            request = built.request
        else:
            raise AssertionError("the SDK must send a request")
        headers = CIMultiDict((name, value) for name, value in request.headers.multi_items() if name.lower() not in _NOT_SIGNED)
        headers["accept-encoding"] = "identity"  # the size of a compressed body is unknown until it is unpacked
        found = known_addresses[key] = Address(URL(str(request.url), encoded=True), headers, client)
        if len(known_addresses) > MOST_ADDRESSES:
            known_addresses.popitem(last=False)
        return found

    async def post(self, address: Address, content: bytes, more: Iterable[tuple[str, str]] = ()) -> Reply:
        """Return the vendor's answer with its body unread; `more` are further headers. Raises the SDK's error for a refusal."""
        headers = address.headers
        if more:
            headers = headers.copy()
            headers.update(more)
        reply = await transport.post(address.url, headers, content)
        if not 200 <= reply.status < 300:
            raise await self.sdk_error(address.client, await reply.for_sdk())
        return reply

    async def read_whole(self, address: Address, content: bytes, seconds: float, more: Iterable[tuple[str, str]] = ()) -> bytes:
        """Return the body of one JSON answer.

        An answer that breaks off after the vendor's 200 raises an error with `answered`, because it may be charged for.
        """
        reply: Reply | None = None
        try:
            async with limit(seconds, "total"):
                reply = await self.post(address, content, more)
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
        loop = asyncio.get_running_loop()
        with self.errors(target):
            sending = await self._sending(request, target, stream=True)
            began = loop.time()
            applied: RuleApplied | None = None
            async with limit(settings.LLM_FIRST_TOKEN_TIMEOUT, "first_token"):
                try:
                    reply = await self.post(sending.address, sending.content, sending.headers)
                except Exception as exc:
                    sending, applied = await self._fitted(exc, request, target, sending, stream=True)
                    reply = await self.post(sending.address, sending.content, sending.headers)
            if applied is not None:
                yield applied
            answer = sending.answer
            upstream = Upstream(reply, began, framed=isinstance(answer, NativeReader))
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
        # No byte arrives until the whole answer is written, so the time allowed grows with the output limit.
        allowed = settings.LLM_FIRST_TOKEN_TIMEOUT + settings.LLM_WHOLE_SECONDS_PER_TOKEN * request.output_limit(target.max_output_tokens)
        with self.errors(target):
            sending = await self._sending(request, target, stream=False)
            allowed = min(allowed, settings.LLM_TOTAL_TIMEOUT)
            try:
                body = await self.read_whole(sending.address, sending.content, allowed, sending.headers)
            except Exception as exc:
                sending, applied = await self._fitted(exc, request, target, sending, stream=False)
                yield applied
                body = await self.read_whole(sending.address, sending.content, allowed, sending.headers)
            answer = sending.answer
            try:
                events = answer.feed_whole(body)
            except ProviderError:
                if answer.usage is not None:  # an error inside the answer: what the vendor counted is still charged
                    yield UsageReport(answer.usage)
                raise
            for event in events:
                yield event

    async def _sending(self, request: CompletionRequest, target: Target, *, stream: bool) -> Sending:
        """Return the request as it goes to the vendor, and the parser of its answer."""
        address = await self.address(target, stream=stream)
        native = self.native_content(request, target, stream=stream) if request.native is not None else None
        answer = self.answer(target)
        answer.stops = request.stop
        if native is None:
            if request.tools or any(message.role == "tool" for message in request.messages):
                request, answer.names = fit_names(request, self.tool_name)
            return Sending(address, answer, jsonio.dumps(self.payload(request, target, stream=stream)), ())
        assert request.native is not None
        return Sending(address, self.native_reader(answer, request, target), native, request.native.headers)

    async def _fitted(
        self, exc: Exception, request: CompletionRequest, target: Target, sent: Sending, *, stream: bool
    ) -> tuple[Sending, RuleApplied]:
        """Return a refused request in the form that the rule of the model asks for. Raises `exc` if there is none.

        A client's own body is not changed: the vendor's refusal is its answer.
        """
        refused = self.translate(exc, target)
        if not isinstance(refused, ProviderModelRule) or refused.rule is None or refused.refusal is None:
            raise exc
        rule, applied = refused.rule, RuleApplied(refused.rule.name, refused.message)
        if isinstance(sent.answer, NativeReader):
            raise exc
        if rule.endpoint and rule.endpoint != target.endpoint:
            return await self._sending(request, replace(target, endpoint=rule.endpoint), stream=stream), applied
        # In a thread: the body may be large.
        body = await asyncio.to_thread(orjson.loads, sent.content)
        changed = rule.fix(body, refused.refusal) if rule.fix is not None else None
        if changed is None:
            raise exc
        # Not the same parser: it belongs to one answer.
        answer = self.answer(target)
        answer.stops, answer.names = request.stop, sent.answer.names
        return Sending(sent.address, answer, await asyncio.to_thread(jsonio.dumps, changed), sent.headers), applied

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
