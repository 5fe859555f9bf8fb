"""channels-redis' layer, whose errors do not end the sockets that listen to it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels_redis.core import RedisChannelLayer

from aiagents.core.valkey.clients import cancelled

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


class ChannelLayer(RedisChannelLayer):
    """A consumer waits in `receive` for all of its life, and an exception there ends it. While Valkey is away this one waits.

    Messages that are sent meanwhile are lost, and the layer may lose others at any time. So a message only says that something
    changed; its reader then requests the present state from the API.
    """

    async def receive(self, channel: str) -> dict[str, Any]:
        while True:
            try:
                return await super().receive(channel)
            except Exception as exc:
                log.warning("channel_layer_away", extra={"reason": type(exc).__name__})
            _raise_if_cancelled()
            await asyncio.sleep(RETRY_SECONDS)

    async def _brpop_with_clean(self, index: int, channel: str, timeout: float) -> Any:
        """One wait of a few seconds. The caller repeats it for ever, also where redis-py lost a cancellation while it connected."""
        content = await super()._brpop_with_clean(index, channel, timeout=timeout)
        if content is None:
            _raise_if_cancelled()
        return content


def _raise_if_cancelled() -> None:
    if cancelled():
        raise asyncio.CancelledError
