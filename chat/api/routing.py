"""Which WebSocket goes where. `routes` is open: the roof adds the sockets of other rooms by their path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiagents.core.http import hosts
from aiagents.core.http.headers import read
from chat.api.websocket import ChatConsumer

routes: dict[str, Callable[..., Awaitable[None]]] = {"/api/v1/chat/ws": ChatConsumer.as_asgi()}


async def websocket_application(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Any) -> None:
    """Every WebSocket of the product; an unknown path or a Host that is not ours is refused in the handshake (HTTP 403)."""
    consumer = routes.get(scope["path"])
    if consumer is not None and hosts.allowed(read(scope["headers"]).get("host", ""), scope["path"]):
        await consumer(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.close"})
