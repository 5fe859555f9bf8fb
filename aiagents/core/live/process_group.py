"""Messages to all web processes: the group `process` of the channel layer.

The layer may lose a message. So what must happen also has a key in Valkey or a row, which its process reads now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer

from aiagents.core.live import groups
from aiagents.core.valkey import clients as valkey

log = logging.getLogger(__name__)
GROUP = "process"


async def send(kind: str, ids: Sequence[UUID]) -> None:
    """Send a message. Raises an error of `valkey.AWAY` while the layer is away."""
    layer: Any = get_channel_layer()
    await layer.group_send(GROUP, _message(kind, ids))


def send_sync(kind: str, ids: Sequence[UUID]) -> None:
    """The same for sync code."""
    layer: Any = get_channel_layer()
    layer.send_to_groups(valkey.sync_client(), [(GROUP, _message(kind, ids))])


def _message(kind: str, ids: Sequence[UUID]) -> dict[str, Any]:
    return {"type": "process.message", "kind": kind, "ids": [str(id) for id in ids]}


async def listen(handlers: Mapping[str, Callable[[list[UUID]], None]]) -> None:
    """Call the handler of each message until cancelled."""
    layer: Any = get_channel_layer()
    channel = await layer.new_channel("process")
    staying = asyncio.create_task(groups.stay_in(layer, GROUP, channel, joined_again=lambda: None))
    try:
        while True:
            message = await layer.receive(channel)
            try:
                handlers[message["kind"]]([UUID(id) for id in message["ids"]])
            except Exception:  # perhaps of a newer process: it must not end the listener
                log.exception("process_message_failed")
    finally:
        staying.cancel()
        groups.leave(layer, [GROUP], channel)
