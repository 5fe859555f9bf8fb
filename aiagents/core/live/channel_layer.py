"""channels-redis' layer, whose errors do not end the sockets that listen to it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any
from weakref import WeakKeyDictionary

import redis
from channels_redis.core import RedisChannelLayer

from aiagents.core.valkey.clients import cancelled

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


class ChannelLayer(RedisChannelLayer):
    """A consumer waits in `receive` for all of its life, and an exception there ends it. While Valkey is away this one waits.

    Messages that are sent meanwhile are lost, and the layer may lose others at any time. So a message only says that something
    changed; its reader then requests the present state from the API.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._channels: set[str] = set()
        self._receiving: set[str] = set()
        self._recoveries: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
        self._waiters: set[asyncio.Future[None]] = set()

    async def new_channel(self, prefix: str = "specific") -> str:
        name: str = await super().new_channel(prefix)
        self._channels.add(name)
        return name

    def forget(self, channel: str) -> None:
        """Drop the messages of a channel whose consumer has ended. channels-redis would keep them for ever."""
        self._channels.discard(channel)
        if channel not in self._receiving:  # else its `receive` drops them: channels-redis fails where they are gone already
            self.receive_buffer.pop(channel, None)

    async def receive_single(self, channel: str) -> tuple[Any, Any]:
        names, message = await super().receive_single(channel)
        return ([name for name in names if name in self._channels] if isinstance(names, list) else names), message

    def send_to_groups(self, client: redis.Redis, messages: list[tuple[str, dict[str, Any]]]) -> int:
        """Send messages to groups from sync code, all in one command; how many were sent, one for each process and group.

        `group_send` takes five commands for each (docs/adr/0098-news-by-one-script.md).
        """
        limits = (time.time(), self.group_expiry, self.expiry, self.capacity)
        bodies = [self.serialize(message) for _, message in messages]
        arguments = (self.prefix, self._serializer.random_prefix_length, *limits, *bodies)
        sent = client.eval(_SEND_TO_GROUPS, len(messages), *(self._group_key(group) for group, _ in messages), *arguments)
        return int(sent)  # type: ignore[arg-type]  # redis-py types sync and async answers alike

    async def receive(self, channel: str) -> dict[str, Any]:
        while True:
            self._receiving.add(channel)
            try:
                return await super().receive(channel)
            except Exception as exc:
                reason = type(exc).__name__
            finally:
                self._receiving.discard(channel)
                if channel not in self._channels:
                    self.receive_buffer.pop(channel, None)
            _raise_if_cancelled()
            await asyncio.shield(self._recovery(reason))

    async def outage(self, seconds: float) -> bool:
        """Wait until an outage of the layer is over; False after `seconds` without one. Groups may be lost by then."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            return bool((await asyncio.wait([waiter], timeout=seconds))[0])
        finally:
            self._waiters.discard(waiter)

    def _recovery(self, reason: str) -> asyncio.Task[None]:
        """The task that waits for Valkey: one for all channels of the loop."""
        loop = asyncio.get_running_loop()
        task = self._recoveries.get(loop)
        if task is None or task.done():
            log.warning("channel_layer_away", extra={"reason": reason})
            task = self._recoveries[loop] = loop.create_task(self._recover(), name="channel layer")
        return task

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self.connection(0).ping()
                break
            except Exception:
                _raise_if_cancelled()
        loop = asyncio.get_running_loop()
        for waiter in [one for one in self._waiters if one.get_loop() is loop and not one.done()]:
            waiter.set_result(None)

    async def _brpop_with_clean(self, index: int, channel: str, timeout: float) -> Any:
        """Wait a few seconds for a message. The caller repeats it for ever, also where redis-py lost a cancellation.

        Without channels-redis' backup of a message whose receiver is cancelled: three more commands for each message.
        """
        found = await self.connection(index).bzpopmin(channel, timeout=timeout)
        if found is None:
            _raise_if_cancelled()
            return None
        return found[1]

    async def _clean_receive_backup(self, index: int, channel: str) -> None:
        """Nothing was backed up."""


# Keys and messages are those of RedisChannelLayer.group_send: one message for each process with members of the group.
_SEND_TO_GROUPS = """
local prefix, random, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local sent = 0
for index, group in ipairs(KEYS) do
    local names = redis.call('ZRANGEBYSCORE', group, now - tonumber(ARGV[4]), '+inf')
    if #names > 0 then
        local body, channels = ARGV[6 + index], {}
        local message = cmsgpack.unpack(string.sub(body, random + 1))
        for _, name in ipairs(names) do
            local key = prefix .. string.match(name, '^[^!]*!?')
            channels[key] = channels[key] or {}
            table.insert(channels[key], name)
        end
        for key, members in pairs(channels) do
            if redis.call('ZCARD', key) < tonumber(ARGV[6]) then
                message['__asgi_channel__'] = members
                redis.call('ZADD', key, now, string.sub(body, 1, random) .. cmsgpack.pack(message))
                redis.call('EXPIRE', key, ARGV[5])
                sent = sent + 1
            end
        end
    end
end
return sent
"""


def _raise_if_cancelled() -> None:
    if cancelled():
        raise asyncio.CancelledError
