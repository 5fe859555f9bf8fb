"""Messages to all web processes."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer

from aiagents.core.ids import uuid7
from aiagents.core.live import process_group
from tests.kit.waiting import until


async def test_a_message_that_cannot_be_handled_does_not_end_the_listener():
    received: list[list[UUID]] = []
    failed = asyncio.Event()

    def fail(_: list[UUID]) -> None:
        failed.set()
        raise RuntimeError

    layer: Any = get_channel_layer()
    listener = asyncio.create_task(process_group.listen({"good": received.append, "failing": fail}))
    try:

        async def joined() -> bool:
            await process_group.send("good", [uuid7()])
            return bool(received)

        await until(joined, every=0.05)
        async with asyncio.timeout(20):
            await process_group.send("failing", [])
            await process_group.send("of a newer process", [])
            await layer.group_send(process_group.GROUP, {"type": "process.message", "kind": "good", "ids": ["no id"]})
            await process_group.send("good", [last := uuid7()])
            await until(lambda: received[-1] == [last])
        assert failed.is_set() and not listener.done()
    finally:
        listener.cancel()
