"""Endpoints beside Django: plain ASGI for the paths that carry tokens, with all that Django's middleware and DRF do for the others.

For each request: its id, the caller, the limits, the handler, errors in one shape, one line in the access log; no thread
and no middleware in between. `aiagents/endpoints.py` lists the product's.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

from aiagents.core import draining, storage
from aiagents.core.errors import AppError, MethodNotAllowed, NotFound, Unavailable
from aiagents.core.http import body_limits
from aiagents.core.http import headers as http_headers
from aiagents.core.http.exchange import ErrorRenderer, Exchange, render_error
from aiagents.core.http.idempotency import Answer, Replayer, run_once
from aiagents.core.http.request import ClientGone, EventStream, Receive, Request, Response, Scope, Send, json_response
from aiagents.core.live import credential_watch
from aiagents.core.logs.context import accept_request_id, user_id

__all__ = ["Endpoint", "EndpointApplication", "EventStream", "Request", "Response", "json_response", "render_error"]
log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Answer]]
Authenticate = Callable[[Mapping[str, str]], Awaitable[Any]]
# authorize(principal, scope, safe=…): raises PermissionDenied; safe: the request only reads.
Authorize = Callable[..., None]
_FOUND = "aiagents.endpoint"
_GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()\\\[]|\\[^(]|\[[^]]*+\])*+\)")
_SPECIAL = set("\\()[]{}.*+?^$|")


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One method of the paths that match `pattern` whole; its named groups become `request.path_args`."""

    method: str
    pattern: str
    handler: Handler
    _: KW_ONLY
    # What a principal needs; None: nothing in particular.
    scope: str | None
    authenticated: bool = True
    error: ErrorRenderer = render_error
    # The handler is cancelled when its client leaves.
    cancel_on_disconnect: bool = False
    # Idempotency-Key is read. `replay` answers a repetition from the reference that the handler kept.
    idempotent: bool = False
    replay: Replayer | None = None
    # Refused while the process is draining or the disk is full.
    starts_work: bool = False
    # A longer body is refused while it is read.
    max_body_bytes: int = body_limits.SMALL
    # The OpenAPI operation, apart from what the other fields say.
    openapi: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: `/v1/models/{model}`."""
        return _GROUP.sub(r"{\1}", self.pattern).replace("/?", "").replace("\\", "")

    @property
    def operation(self) -> dict[str, Any]:
        """The OpenAPI operation object as far as it is declared."""
        name = getattr(self.handler, "__name__", "operation")
        return {"operationId": name, **({"tags": list(self.tags)} if self.tags else {}), **self.openapi}


@dataclass(slots=True)
class Path:
    pattern: re.Pattern[str]
    methods: dict[str, Endpoint] = field(default_factory=dict)


class EndpointApplication:
    """An ASGI application of endpoints. It is given what it may not import: who authenticates and who judges scopes."""

    def __init__(self, endpoints: Iterable[Endpoint] = (), *, authenticate: Authenticate, authorize: Authorize) -> None:
        self._authenticate, self._authorize = authenticate, authorize
        self._exact: dict[str, Path] = {}
        self._patterns: list[Path] = []
        for endpoint in endpoints:
            self.add(endpoint)

    def add(self, endpoint: Endpoint) -> None:
        """Serve one more endpoint. One that has the same method and pattern is replaced."""
        paths = [path for path in (*self._exact.values(), *self._patterns) if path.pattern.pattern == endpoint.pattern]
        path = paths[0] if paths else Path(re.compile(endpoint.pattern))
        path.methods[endpoint.method] = endpoint
        if not paths and _SPECIAL & set(endpoint.pattern):
            self._patterns.append(path)
        elif not paths:
            self._exact[endpoint.pattern] = path

    def body_limit(self, method: str, path: str) -> int | None:
        """The most bytes that this request's body may have; None where the path is not served here."""
        found = self._look_up(path)
        if found is None:
            return None
        endpoint = found[0].methods.get(method)
        return body_limits.bounded(body_limits.SMALL if endpoint is None else endpoint.max_body_bytes)

    def matches(self, scope: Scope) -> bool:
        """Whether the request's path is served here, by whatever method."""
        return self._find(scope) is not None

    def _find(self, scope: Scope) -> tuple[Path, dict[str, str]] | None:
        if _FOUND not in scope:
            scope[_FOUND] = self._look_up(scope["path"])
        return scope[_FOUND]

    def _look_up(self, wanted: str) -> tuple[Path, dict[str, str]] | None:
        if exact := self._exact.get(wanted):
            return exact, {}
        for path in self._patterns:
            if match := path.pattern.fullmatch(wanted):
                return path, match.groupdict()
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        head = http_headers.read(scope["headers"])
        request = Request(scope, receive, head, accept_request_id(head.get("x-request-id")))
        user_id.set("")
        exchange = Exchange(request, send, begun)
        try:
            answer = await self._answer(request, exchange)
        except ClientGone:
            exchange.log(499, "client_gone")
            return
        except AppError as exc:
            answer = await exchange.refuse(exc)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            answer = await exchange.refuse(AppError())
        await exchange.send(answer)

    async def _answer(self, request: Request, exchange: Exchange) -> Answer:
        found = self._find(request.scope)
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
