"""Values in Valkey that belong to one owner and are kept for a while after their last use, bounded in bytes.

Each owner has a hash of values and a sorted set of their last uses. A value that was not used for `seconds` counts as
gone. When an owner's values exceed `most_bytes_each`, those used least recently go first; when all owners together exceed
`most_bytes`, all values of the owner that was away longest. Valkey evicts nothing itself, so these are the only limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiagents.core.errors import Unavailable
from aiagents.core.valkey import clients as valkey

log = logging.getLogger(__name__)
# Seconds for one command.
_PATIENCE = 2.0
# Bytes that a value takes beside its own: its name, twice, and its last use.
_OVERHEAD = 128

# KEYS: the owner's values and last uses, all owners by last use, bytes by owner ('' : all owners).
# ARGV: owner, seconds, overhead, then what the command needs.
_SHARED = """
local values, used, owners, bytes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local owner, seconds, overhead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local function remove(name)
  if not redis.call('ZSCORE', used, name) then return 0 end
  local size = redis.call('HSTRLEN', values, name) + overhead
  redis.call('HDEL', values, name)
  redis.call('ZREM', used, name)
  return size
end
local function count(total)
  local before = tonumber(redis.call('HGET', bytes, owner) or 0)
  redis.call('HINCRBY', bytes, '', total - before)
  if total > 0 then redis.call('HSET', bytes, owner, total) else redis.call('HDEL', bytes, owner) end
end
"""
_KEEP = (
    _SHARED
    + """
local most_each, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local total = tonumber(redis.call('HGET', bytes, owner) or 0)
if redis.call('EXISTS', values) == 0 then total = 0 end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', used, '-inf', now - seconds)) do total = total - remove(name) end
for i = 6, #ARGV, 2 do
  total = total - remove(ARGV[i]) + #ARGV[i + 1] + overhead
  redis.call('HSET', values, ARGV[i], ARGV[i + 1])
  redis.call('ZADD', used, now, ARGV[i])
end
while total > most_each do
  local oldest = redis.call('ZRANGE', used, 0, 0)[1]
  if not oldest then break end
  total = total - remove(oldest)
end
redis.call('EXPIRE', values, seconds)
redis.call('EXPIRE', used, seconds)
count(total)
redis.call('ZADD', owners, now, owner)
while true do
  local oldest = redis.call('ZRANGE', owners, 0, 0, 'WITHSCORES')
  local full = tonumber(redis.call('HGET', bytes, '') or 0) > most
  if oldest[1] == owner or not (full or tonumber(oldest[2]) < now - seconds) then break end
  local prefix = string.sub(values, 1, #values - #owner)
  redis.call('UNLINK', prefix .. oldest[1], prefix .. oldest[1] .. ':used')
  redis.call('HINCRBY', bytes, '', -tonumber(redis.call('HGET', bytes, oldest[1]) or 0))
  redis.call('HDEL', bytes, oldest[1])
  redis.call('ZREM', owners, oldest[1])
end
"""
)
_READ = (
    _SHARED
    + """
local found = {}
for i = 4, #ARGV do
  local last = redis.call('ZSCORE', used, ARGV[i])
  found[i - 3] = last and tonumber(last) >= now - seconds and redis.call('HGET', values, ARGV[i])
  if found[i - 3] then redis.call('ZADD', used, now, ARGV[i]) end
end
redis.call('EXPIRE', values, seconds)
redis.call('EXPIRE', used, seconds)
redis.call('ZADD', owners, 'XX', now, owner)
return found
"""
)
_DROP = (
    _SHARED
    + """
local total = tonumber(redis.call('HGET', bytes, owner) or 0)
for i = 4, #ARGV do total = total - remove(ARGV[i]) end
count(total)
"""
)
_FORGET = (
    _SHARED
    + """
redis.call('UNLINK', values, used)
count(0)
redis.call('ZREM', owners, owner)
"""
)


@dataclass(frozen=True, slots=True)
class OwnedValues:
    """The values under one prefix. Every method raises Unavailable while Valkey does not answer."""

    prefix: str
    seconds: int
    most_bytes_each: int
    most_bytes: int

    async def keep(self, owner: str, values: Mapping[str, bytes]) -> bool:
        """Keep these values, in the order of their last use. Returns False, and keeps none, if they exceed an owner's share."""
        if sum(len(value) + _OVERHEAD for value in values.values()) > self.most_bytes_each:
            return False
        pairs = [part for pair in values.items() for part in pair]
        await self._run(_KEEP, owner, self.most_bytes_each, self.most_bytes, *pairs)
        return True

    async def read(self, owner: str, names: Iterable[str]) -> dict[str, bytes]:
        """Return those of the owner's values that exist, and count them as used."""
        wanted = list(dict.fromkeys(names))
        found = await self._run(_READ, owner, *wanted) if wanted else []
        return {name: value for name, value in zip(wanted, found, strict=True) if value is not None}

    async def drop(self, owner: str, names: Iterable[str]) -> None:
        """Delete these values of the owner."""
        await self._run(_DROP, owner, *names)

    def forget(self, owner: str) -> None:
        """Delete all values of an owner (for sync code). While Valkey is away they end by themselves after `seconds`."""
        keys = self._keys(owner)
        try:
            valkey.sync_client().eval(_FORGET, len(keys), *keys, owner, str(self.seconds), str(_OVERHEAD))
        except valkey.AWAY as exc:
            log.warning("owned_values_not_forgotten", extra={"prefix": self.prefix, "reason": type(exc).__name__})

    def _keys(self, owner: str) -> list[str]:
        return [f"{self.prefix}:{owner}", f"{self.prefix}:{owner}:used", f"{self.prefix}:owners", f"{self.prefix}:bytes"]

    async def _run(self, script: str, owner: str, *arguments: str | bytes | int) -> list[bytes | None]:
        keys = self._keys(owner)
        try:
            async with asyncio.timeout(_PATIENCE):
                call: Any = valkey.client().eval(script, len(keys), *keys, owner, self.seconds, _OVERHEAD, *arguments)
                return cast("list[bytes | None]", await call or [])
        except valkey.AWAY as exc:
            log.warning("owned_values_unavailable", extra={"prefix": self.prefix, "reason": type(exc).__name__})
            raise Unavailable from exc
