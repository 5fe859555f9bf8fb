"""Tasks around the channel layer end with their socket, also where redis-py lost their cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from django.conf import settings

from aiagents.core.http.websocket import SocketConsumer
from aiagents.core.live.channel_layer import ChannelLayer


class Lossy:
    """Waits, and swallows a cancellation as redis-py 8.1 does while it connects."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()

    async def wait(self) -> None:
        self.waiting.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def test_joining_a_group_ends_with_the_socket():
    lossy = Lossy()

    class Layer:
        async def group_add(self, group: str, channel: str) -> None:
            await lossy.wait()

        async def group_discard(self, group: str, channel: str) -> None: ...
        def forget(self, channel: str) -> None: ...

    consumer: Any = SocketConsumer()
    consumer.channel_layer, consumer.channel_name = Layer(), "specific"
    consumer.join("user.1")
    await lossy.waiting.wait()
    (task,) = consumer._groups.values()
    consumer.end()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done


async def test_receiving_ends_with_the_socket(monkeypatch: pytest.MonkeyPatch):
    lossy = Lossy()

    class Connection:
        async def bzpopmin(self, key: str, timeout: int) -> None:
            await lossy.wait()

    monkeypatch.setattr(ChannelLayer, "connection", lambda self, index: Connection())
    layer = ChannelLayer(hosts=[settings.REDIS_URL])
    task = asyncio.create_task(layer.receive(await layer.new_channel()))
    await lossy.waiting.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done and task.cancelled()
