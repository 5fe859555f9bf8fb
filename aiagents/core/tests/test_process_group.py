"""Messages to all web processes."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer

from aiagents.core.ids import uuid7
from aiagents.core.live import process_group


async def test_a_message_that_cannot_be_handled_does_not_end_the_listener():
    received: list[list[UUID]] = []
    failed = asyncio.Event()

    def fail(_: list[UUID]) -> None:
        failed.set()
        raise RuntimeError

    layer: Any = get_channel_layer()
    listener = asyncio.create_task(process_group.listen({"good": received.append, "failing": fail}))
    try:
        async with asyncio.timeout(20):
            while not received:  # until it has joined the group
                await process_group.send("good", [uuid7()])
                await asyncio.sleep(0.05)
            await process_group.send("failing", [])
            await process_group.send("of a newer process", [])
            await layer.group_send(process_group.GROUP, {"type": "process.message", "kind": "good", "ids": ["no id"]})
            await process_group.send("good", [last := uuid7()])
            while received[-1] != [last]:
                await asyncio.sleep(0.02)
        assert failed.is_set() and not listener.done()
    finally:
        listener.cancel()
