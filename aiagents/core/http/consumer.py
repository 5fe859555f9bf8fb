"""The consumer of every asynchronous HTTP endpoint: Channels' `AsyncHttpConsumer`, with limits, streams and disconnects of ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer

from aiagents.core import draining, storage
from aiagents.core.error_mapping import error_of
from aiagents.core.errors import AppError, MethodNotAllowed, NotFound, Unavailable
from aiagents.core.http import body_limits
from aiagents.core.http import headers as http_headers
from aiagents.core.http.endpoints import Endpoint, EndpointTable, Handler
from aiagents.core.http.exchange import Exchange
from aiagents.core.http.idempotency import Answer, run_once
from aiagents.core.http.request import ClientGone, Receive, Request, Scope, Send
from aiagents.core.live import credential_watch
from aiagents.core.logs.context import accept_request_id, user_id

log = logging.getLogger(__name__)
Authenticate = Callable[[Mapping[str, str]], Awaitable[Any]]
# authorize(principal, scope, safe=…): raises PermissionDenied; safe: the request only reads.
Authorize = Callable[..., None]


class EndpointConsumer(AsyncHttpConsumer):
    """One request: its id, the caller, the limits, the handler, errors in one shape, one line in the access log.

    Channels' own `http_request` collects a body without limit and calls `handle` when it is whole; it gets a disconnect only
    after `handle` returned. Here the first message begins the answer, which reads the rest of the body itself, within the
    endpoint's limit and after the caller is known, and then listens for the disconnect while it works.
    """

    def __init__(self, table: EndpointTable, authenticate: Authenticate, authorize: Authorize) -> None:
        super().__init__()
        self._table, self._authenticate, self._authorize = table, authenticate, authorize
        self._first: dict[str, Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch the first message, which is the request; the answer reads the others.

        Channels' own loop waits in a task for the next message beside each handler, and keeps `receive` to itself. It also
        joins the channel layer, and then the consumer ends when Valkey is away.
        """
        self.scope, self._receive, self.base_send = scope, receive, send
        with contextlib.suppress(StopConsumer):
            await self.dispatch(await receive())

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of a message. Channels closes old database connections before, by way of a thread; ours are pooled."""
        await getattr(self, get_handler_name(message))(message)

    async def http_request(self, message: dict[str, Any]) -> None:
        """Answer the request. Raises StopConsumer at its end."""
        self._first = message
        begun = time.perf_counter()
        head = http_headers.read(self.scope["headers"])
        request = Request(self.scope, self._next, head, accept_request_id(head.get("x-request-id")))
        user_id.set("")
        exchange = Exchange(request, self.send, begun)
        try:
            answer = await self._answer(request, exchange)
        except ClientGone:
            exchange.log(499, "client_gone")
            raise StopConsumer from None
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            error = error_of(exc)
            if error is None:
                log.exception("%s %s failed", request.method, request.path)
            answer = await exchange.refuse(error or AppError())
        await exchange.send(answer)
        raise StopConsumer

    # A client that is gone before its request began: reading the body raises ClientGone.
    http_disconnect = http_request

    async def _next(self) -> dict[str, Any]:
        """The message that began the request, then those that follow."""
        if self._first is not None:
            message, self._first = self._first, None
            return message
        return await self._receive()

    async def _answer(self, request: Request, exchange: Exchange) -> Answer:
        found = self._table.find(request.scope)
        if found is None:
            raise NotFound
        path, request.path_args = found
        exchange.error = next(iter(path.methods.values())).error
        request.authority()
        if request.method == "OPTIONS":
            return exchange.preflight(path.methods)
        endpoint = path.methods.get(request.method)
        if endpoint is None:
            exchange.extra.append((b"allow", ", ".join(sorted({*path.methods, "OPTIONS"})).encode()))
            raise MethodNotAllowed(f"{request.method[:20]} is not allowed here.")
        exchange.error = endpoint.error
        request.max_body_bytes = body_limits.bounded(endpoint.max_body_bytes)
        request.max_values, request.stores_text = endpoint.max_values, endpoint.stores_text
        if endpoint.starts_work and draining.active():
            exchange.extra.append((b"connection", b"close"))
            raise Unavailable("The server is shutting down; try again in a moment.", code="shutting_down", retry_after=draining.RETRY_AFTER)
        if endpoint.starts_work:
            storage.refuse_if_low()
        if endpoint.authenticated:
            request.principal = await self._authenticate(request.headers)
            user_id.set(str(request.principal.user_id))
        await exchange.count()
        if endpoint.scope is not None and endpoint.authenticated:
            self._authorize(request.principal, endpoint.scope, safe=request.method == "GET")
        if request.method != "GET":
            await request.body()
        # A whole answer may take minutes: it ends with its credential as a stream does.
        return await credential_watch.while_valid(request.principal, partial(self._handle, request, endpoint))

    async def _handle(self, request: Request, endpoint: Endpoint) -> Answer:
        handler = endpoint.handler
        if endpoint.cancel_on_disconnect:
            handler = _while_connected(handler)
        key = request.headers.get("idempotency-key") if endpoint.idempotent else None
        if key is None or request.principal is None:
            return await handler(request)
        return await run_once(request, key, handler, endpoint.replay)


class EndpointApplication(EndpointTable):
    """An ASGI application of endpoints. It is given what it may not import: who authenticates and who judges scopes."""

    def __init__(self, endpoints: Iterable[Endpoint] = (), *, authenticate: Authenticate, authorize: Authorize) -> None:
        super().__init__(endpoints)
        self._consumer: Any = EndpointConsumer.as_asgi(table=self, authenticate=authenticate, authorize=authorize)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._consumer(scope, receive, send)


def _while_connected(handler: Handler) -> Handler:
    """The same handler, cancelled in its own task when the client leaves."""

    async def cancelled_with_client(request: Request) -> Answer:
        await request.body()
        me = asyncio.current_task()
        assert me is not None
        gone, left = request.watch(), False

        def leave(_: object) -> None:
            nonlocal left
            left = True
            me.cancel()

        gone.add_done_callback(leave)
        try:
            return await handler(request)
        except asyncio.CancelledError:
            if not left:
                raise
            me.uncancel()
            raise ClientGone from None
        finally:
            gone.remove_done_callback(leave)

    return cancelled_with_client
