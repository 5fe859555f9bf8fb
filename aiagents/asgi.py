"""The ASGI application: who answers which request. Django, apart from the endpoints that carry tokens.

Served by `python -m aiagents.server`; any ASGI server takes it (`uvicorn aiagents.asgi:application`), without our drain.
"""

from __future__ import annotations

import asyncio
import os
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

django: Any = get_asgi_application()  # loads the apps, which the imports below need

from aiagents import endpoints, housekeeping, warming  # noqa: E402 - the apps are loaded above
from aiagents.core import draining  # noqa: E402 - the apps are loaded above
from aiagents.core.errors import AppError  # noqa: E402 - the apps are loaded above
from aiagents.core.http import body_limits, hosts  # noqa: E402 - the apps are loaded above
from aiagents.core.http.client_address import client_ip, scheme  # noqa: E402 - the apps are loaded above
from aiagents.core.http.close_codes import SHUTTING_DOWN  # noqa: E402 - the apps are loaded above
from aiagents.core.http.headers import check_target, read  # noqa: E402 - the apps are loaded above
from aiagents.core.jsonio import dumps  # noqa: E402 - the apps are loaded above
from aiagents.core.logs.access import log_socket  # noqa: E402 - the apps are loaded above
from aiagents.core.logs.context import accept_request_id  # noqa: E402 - the apps are loaded above
from aiagents.core.metrics import counting  # noqa: E402 - the apps are loaded above
from aiagents.monitoring import health, sharing  # noqa: E402 - the apps are loaded above

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Every request, socket and lifespan event of a process comes in here."""
    if settings.TRUSTED_PROXIES and scope["type"] != "lifespan":
        scope = _as_forwarded(scope)
    await _protocols(scope, receive, send)


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/health" and scope["method"] in {"GET", "HEAD"}:
        await _health(scope, send)
    elif not endpoints.http.matches(scope):
        await django(scope, body_limits.counted(scope, receive), send)
    else:
        await endpoints.http(scope, receive, send)


def _body_limit(method: str, target: str) -> int:
    """The most bytes that a request's body may have, by its method and its target as it stands on the wire."""
    path = unquote(target.partition("?")[0])
    limit = endpoints.http.body_limit(method, path)
    return body_limits.of_view(path) if limit is None else limit


# Our server asks this while a body arrives.
application.body_limit = _body_limit  # type: ignore[attr-defined]  # the server reads this attribute


def _as_forwarded(scope: Scope) -> Scope:
    """The scheme that the client used: behind a proxy that speaks TLS, cookies, forms and origins are those of https."""
    forwarded = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-proto"), "")
    secure = {"https": "https", "http": "http"} if scope["type"] == "http" else {"https": "wss", "http": "ws"}
    own = "https" if scope.get("scheme") in ("https", "wss") else "http"
    return {**scope, "scheme": secure[scheme((scope.get("client") or ("",))[0] or "", forwarded, own)]}


async def _socket(scope: Scope, receive: Receive, send: Send) -> None:
    """One WebSocket from handshake to close; its application sets the ids that stand on the line of the log."""
    if draining.active():
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": SHUTTING_DOWN})
        return
    begun = time.monotonic()
    counting.open_sockets += 1
    try:
        await endpoints.websocket(scope, receive, send)
    finally:
        counting.open_sockets -= 1
        headers = {"x-forwarded-for": read(scope["headers"]).get("x-forwarded-for", "")}
        log_socket(scope["path"], time.monotonic() - begun, client_ip((scope.get("client") or ("",))[0] or "", headers))


async def _health(scope: Scope, send: Send) -> None:
    """Liveness, without Django: this process runs and its loop turns. Load balancers may ask by IP address."""
    headers, request_id = read(scope["headers"]), accept_request_id(None)
    try:
        hosts.check(headers, scope["path"])
        check_target(b"", scope.get("query_string", b""))
    except AppError as exc:
        await _answer(send, exc.status, dumps(exc.body(request_id)), request_id)
    else:
        await _answer(send, 200, b'{"status":"ok"}', request_id)


async def _answer(send: Send, status: int, body: bytes, request_id: str) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Servers that speak it (uvicorn) get our drain at their shutdown, with their own grace."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            health.begin()
            housekeeping.begin()
            sharing.keep("web")
            # Our own server has done it before it took a connection (server/__main__.py); others wait for the next message.
            await asyncio.get_running_loop().run_in_executor(None, warming.web)
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            draining.begin()
            await draining.run(settings.DRAIN_SECONDS)
            await send({"type": "lifespan.shutdown.complete"})
            return


_protocols = ProtocolTypeRouter({"http": _http, "websocket": _socket, "lifespan": _lifespan})
