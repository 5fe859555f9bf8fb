"""Which WebSocket goes where."""

from __future__ import annotations

from channels.routing import URLRouter
from django.urls import path

from chat.consumers import ChatConsumer

_paths = [path("api/v1/chat/ws", ChatConsumer.as_asgi())]
try:
    from aiagents.monitoring.routing import websocket_paths
except ModuleNotFoundError:  # until the live figures stand
    pass
else:
    _paths += websocket_paths
_router = URLRouter(_paths)


async def websocket_application(scope, receive, send) -> None:
    """Every WebSocket of the product; an unknown path is refused in the handshake."""
    try:
        route = _router(scope, receive, send)
        await route
    except ValueError as exc:
        if "No route found" not in str(exc):
            raise
        await receive()
        await send({"type": "websocket.close"})
