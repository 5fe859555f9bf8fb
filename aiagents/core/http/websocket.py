"""The base of our WebSocket consumers: Channels' `AsyncWebsocketConsumer` with an end that always runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from aiagents.core.live import groups

log = logging.getLogger(__name__)
PROTOCOL = "aiagents.v1"


class SocketConsumer(AsyncWebsocketConsumer):
    """A consumer implements `connect`, `receive` and, where it has more to release, `disconnect`.

    `resources` is closed and the tasks of `spawn` are cancelled when the socket ends, however it ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.resources = ExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._groups: dict[str, asyncio.Task[None]] = {}

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of a message; end everything if it fails.

        Channels closes old database connections before every message, by way of a thread. Ours belong to the threads of
        `aiagents.core.db`, which check them. A message without a handler comes from the channel layer, perhaps from a newer
        process: it must not end the socket.
        """
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            log.warning("socket_message_ignored", extra={"message_type": message["type"]})
            return
        try:
            await handler(message)
        except BaseException:  # StopConsumer, an error of the handler, or a server that cancels the application
            self.end()
            raise

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """The client left, or the server closed the socket. Without Channels' own: it waits for the layer and for a thread."""
        await self.disconnect(message.get("code", 1005))
        raise StopConsumer

    @property
    def running(self) -> int:
        """The number of tasks of `spawn` that run."""
        return len(self._tasks)

    def end(self) -> None:
        """Release everything. Safe to repeat."""
        self.closed = True
        self.resources.close()
        for task in (*self._tasks, *self._groups.values()):
            task.cancel()
        if self._groups:
            groups.leave(self.channel_layer, self._groups, self.channel_name)
            self._groups.clear()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the frames: Channels delivers the next frame only after the handler of the last one returned."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def join(self, group: str) -> None:
        """Add the socket to a group of the channel layer until it ends. While Valkey is away the socket goes on without."""
        if self.channel_layer is not None:
            staying = groups.stay_in(self.channel_layer, group, self.channel_name, partial(self.joined_again, group))
            self._groups[group] = asyncio.create_task(staying)

    def joined_again(self, group: str) -> None:
        """Called after an outage of the channel layer, in which messages to the group may have been lost."""

    async def refuse(self) -> NoReturn:
        """Refuse the handshake with HTTP 403. Raises `StopConsumer`."""
        self.closed = True
        await self.close()
        raise StopConsumer

    async def accept_protocol(self) -> None:
        """Accept the handshake, with our subprotocol where the client offers it."""
        await self.accept(PROTOCOL if PROTOCOL in self.scope.get("subprotocols", []) else None)

    async def close_with(self, code: int) -> None:
        """Close the socket once."""
        if not self.closed:
            self.closed = True
            await self.close(code)
