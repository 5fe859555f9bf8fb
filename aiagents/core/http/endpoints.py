"""The hot doors: plain ASGI for the paths that carry tokens, with all that Django's middleware and DRF do for the others.

For each request: its id, the caller, the limits, the handler, errors in one shape, one line in the access log; no thread
and no middleware in between. `registry` knows every door, for the OpenAPI document and for the suite.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from django.conf import settings

from aiagents.core import draining, storage
from aiagents.core.errors import AppError, MethodNotAllowed, NotFound, Unavailable
from aiagents.core.http import body_limits
from aiagents.core.http import headers as http_headers
from aiagents.core.http.exchange import ErrorRenderer, Exchange, render_error
from aiagents.core.http.idempotency import Answer, Replayer, run_once
from aiagents.core.http.request import ClientGone, EventStream, Receive, Request, Response, Scope, Send, json_response
from aiagents.core.live import credential_watch
from aiagents.core.logs.context import accept_request_id, user_id

__all__ = ["Door", "EventStream", "Request", "Response", "Route", "doors", "json_response", "registry", "render_error"]
log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Answer]]
Authenticate = Callable[[Mapping[str, str]], Awaitable[Any]]
# authorize(principal, scope, safe=…): raises PermissionDenied; safe: the request only reads.
Authorize = Callable[..., None]
_FOUND = "aiagents.door"
_GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()\\\[]|\\[^(]|\[[^]]*+\])*+\)")
_SPECIAL = set("\\()[]{}.*+?^$|")


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `template` is the path as OpenAPI writes it, `openapi` the operation object."""

    method: str
    template: str
    handler: Handler
    scope: str | None
    authenticated: bool
    error: ErrorRenderer
    cancel_on_disconnect: bool
    idempotent: bool
    replay: Replayer | None
    starts_work: bool
    max_body_bytes: int
    openapi: dict[str, Any]


@dataclass(slots=True)
class Path:
    pattern: re.Pattern[str]
    routes: dict[str, Route] = field(default_factory=dict)


registry: list[Door] = []


def doors() -> list[Door]:
    """Every door of the product; loads the modules that make them."""
    for name in settings.HOT_DOORS:
        try:
            import_module(name)
        except ModuleNotFoundError as exc:
            if exc.name is None or not name.startswith(exc.name):
                raise
    return registry


class Door:
    """An ASGI application. Give it what it may not import: who authenticates and who judges scopes."""

    def __init__(self, *, authenticate: Authenticate, authorize: Authorize, register: bool = True) -> None:
        self._authenticate, self._authorize = authenticate, authorize
        self._exact: dict[str, Path] = {}
        self._patterns: list[Path] = []
        if register:
            registry.append(self)

    def add(
        self,
        method: str,
        pattern: str,
        handler: Handler,
        *,
        scope: str | None,
        authenticated: bool = True,
        error: ErrorRenderer = render_error,
        cancel_on_disconnect: bool = False,
        idempotent: bool = False,
        replay: Replayer | None = None,
        starts_work: bool = False,
        max_body_bytes: int = body_limits.SMALL,
        openapi: dict[str, Any] | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """Serve `method` on paths that match `pattern` whole; its named groups become `request.path_args`.

        `scope`: what a principal needs, None for nothing in particular. `cancel_on_disconnect`: the handler is cancelled
        when its client leaves. `idempotent`: Idempotency-Key is heard. `starts_work`: refused while the process leaves.
        `max_body_bytes`: a longer body is refused while it is read.
        """
        pattern = pattern.removeprefix("^").removesuffix("$")
        operation = {"operationId": getattr(handler, "__name__", "operation"), **({"tags": list(tags)} if tags else {}), **(openapi or {})}
        template = _GROUP.sub(r"{\1}", pattern).replace("/?", "").replace("\\", "")
        route = Route(
            method.upper(), template, handler, scope, authenticated, error, cancel_on_disconnect, idempotent, replay, starts_work,
            max_body_bytes, operation,
        )  # fmt: skip
        known = [path for path in (*self._exact.values(), *self._patterns) if path.pattern.pattern == pattern]
        path = known[0] if known else Path(re.compile(pattern))
        path.routes[route.method] = route
        if not known and _SPECIAL & set(pattern):
            self._patterns.append(path)
        elif not known:
            self._exact[pattern] = path

    def routes(self) -> list[Route]:
        return [route for path in (*self._exact.values(), *self._patterns) for route in path.routes.values()]

    def body_limit(self, method: str, path: str) -> int | None:
        """The most bytes that this request's body may have; None where the path is not served here."""
        found = self._look_up(path)
        if found is None:
            return None
        route = found[0].routes.get(method)
        return body_limits.bounded(body_limits.SMALL if route is None else route.max_body_bytes)

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
        exchange.error = next(iter(path.routes.values())).error
        request.authority()
        if request.method == "OPTIONS":
            return exchange.preflight(path.routes)
        route = path.routes.get(request.method)
        if route is None:
            exchange.extra.append((b"allow", ", ".join(sorted({*path.routes, "OPTIONS"})).encode()))
            raise MethodNotAllowed(f"{request.method[:20]} is not allowed here.")
        exchange.error = route.error
        request.max_body_bytes = body_limits.bounded(route.max_body_bytes)
        if route.starts_work and draining.active():
            exchange.extra.append((b"connection", b"close"))
            raise Unavailable("The server is shutting down; try again in a moment.", code="shutting_down", retry_after=draining.RETRY_AFTER)
        if route.starts_work:
            storage.refuse_if_low()
        if route.authenticated:
            request.principal = await self._authenticate(request.headers)
            user_id.set(str(request.principal.user_id))
        await exchange.count()
        if route.scope is not None and route.authenticated:
            self._authorize(request.principal, route.scope, safe=request.method == "GET")
        if request.method != "GET":
            await request.body()
        # A whole answer may take minutes: it ends with its credential as a stream does.
        return await credential_watch.while_valid(request.principal, partial(self._handle, request, route))

    async def _handle(self, request: Request, route: Route) -> Answer:
        handler = route.handler
        if route.cancel_on_disconnect:
            handler = _while_connected(handler)
        key = request.headers.get("idempotency-key") if route.idempotent else None
        if key is None or request.principal is None:
            return await handler(request)
        return await run_once(request, key, handler, route.replay)


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
