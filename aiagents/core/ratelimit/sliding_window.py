"""A sliding-window rate limit over several buckets at once, exact over all processes, by one script in Valkey.

A hit counts in all of its buckets or in none, by Valkey's clock. While Valkey is unreachable or hangs, each process keeps
the same windows in memory: limits then hold per process and start empty. That is logged every 30 s.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
from django.conf import settings

from aiagents.core.valkey import pipeline

log = logging.getLogger(__name__)
# Seconds. The time-out of a request to Valkey, and the shorter one of a probe during an outage.
TIMEOUT, PROBE_TIMEOUT = 0.5, 0.05
PROBE_EVERY, LOG_EVERY = 2.0, 30.0
STALL = 0.05
# Buckets kept in this process while Valkey is away; the least recently used go first.
MAX_LOCAL = 20_000

# KEYS: buckets. ARGV: cost, random mark, then limit and window (seconds) of each bucket.
# Reply: admitted (0/1), index of the tightest bucket, its remaining hits, ms until its next hit is free, ms to wait.
SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local cost, wait, tight, left, reset = tonumber(ARGV[1]), 0, 1, nil, 0
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[1 + 2 * i]), ARGV[2 + 2 * i] * 1000000
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  local free = limit - redis.call('ZCARD', key)
  local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  local frees = oldest[2] and (oldest[2] + window - now) / 1000 or window / 1000
  if free < cost then
    local last = redis.call('ZRANGE', key, cost - free - 1, cost - free - 1, 'WITHSCORES')
    local until_free = last[2] and (last[2] + window - now) / 1000 or window / 1000
    if until_free > wait or wait == 0 then wait = until_free; tight, left, reset = i, math.max(free, 0), frees end
  elseif wait == 0 and (left == nil or free - cost < left) then
    tight, left, reset = i, free - cost, frees
  end
end
if wait > 0 then return {0, tight, left, math.ceil(reset), math.ceil(wait)} end
for i, key in ipairs(KEYS) do
  for n = 1, cost do redis.call('ZADD', key, now, now .. ':' .. n .. ARGV[2]) end
  redis.call('PEXPIRE', key, ARGV[2 + 2 * i] * 1000)
end
return {1, tight, left, math.ceil(reset), 0}
"""
# The script's SHA-1, by which EVALSHA names it.
_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Rule:
    """`limit` hits of one bucket in any `window` seconds."""

    bucket: str
    limit: int
    window: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a hit was admitted, with the state of its tightest bucket. `retry_after` (seconds) is set if it was refused."""

    limit: int
    remaining: int
    reset_seconds: int
    retry_after: int | None = None

    @property
    def allowed(self) -> bool:
        return self.retry_after is None

    def headers(self) -> dict[str, str]:
        """The rate limit headers of a response; Reset is the number of seconds until the next hit is free."""
        found = {"RateLimit-Limit": str(self.limit), "RateLimit-Remaining": str(self.remaining), "RateLimit-Reset": str(self.reset_seconds)}
        return found if self.retry_after is None else found | {"Retry-After": str(self.retry_after)}


async def hit(bucket: str, limit: int, window: int, cost: int = 1) -> Verdict:
    """Count `cost` hits of one bucket, or refuse them all."""
    return await hit_all([Rule(bucket, limit, window)], cost)


def hit_sync(bucket: str, limit: int, window: int, cost: int = 1) -> Verdict:
    return hit_all_sync([Rule(bucket, limit, window)], cost)


async def hit_all(rules: Sequence[Rule], cost: int = 1) -> Verdict:
    """Count `cost` hits in every bucket, or in none of them if one is full."""
    seconds = valkey_breaker.timeout()
    if not seconds:
        return local_windows.hit(rules, cost)
    begun = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            answer = await _evaluate(pipeline.line(), rules, cost)
    except (redis.RedisError, OSError, TimeoutError) as exc:
        # A time-out that fires late means that our own event loop was blocked, not that Valkey is unreachable.
        if not isinstance(exc, TimeoutError) or time.monotonic() - begun < seconds + STALL:
            pipeline.line().drop()
            valkey_breaker.failed(exc)
        return local_windows.hit(rules, cost)
    valkey_breaker.worked()
    return _verdict(rules, answer)


def hit_all_sync(rules: Sequence[Rule], cost: int = 1) -> Verdict:
    """`hit_all` for sync code."""
    seconds = valkey_breaker.timeout()
    if not seconds:
        return local_windows.hit(rules, cost)
    try:
        answer = _evaluate_sync(breaker_client(seconds == PROBE_TIMEOUT), rules, cost)
    except (redis.RedisError, OSError) as exc:
        valkey_breaker.failed(exc)
        return local_windows.hit(rules, cost)
    valkey_breaker.worked()
    return _verdict(rules, answer)


async def _evaluate(line: pipeline.Line, rules: Sequence[Rule], cost: int) -> list[int]:
    arguments = _arguments(rules, cost)
    try:
        return await line.call("EVALSHA", _SHA, len(rules), *arguments)
    except redis.exceptions.NoScriptError:  # the first time, and after Valkey restarted
        return await line.call("EVAL", SCRIPT, len(rules), *arguments)


def _evaluate_sync(client: Any, rules: Sequence[Rule], cost: int) -> list[int]:
    arguments = _arguments(rules, cost)
    try:
        return client.evalsha(_SHA, len(rules), *arguments)
    except redis.exceptions.NoScriptError:
        return client.eval(SCRIPT, len(rules), *arguments)


def _arguments(rules: Sequence[Rule], cost: int) -> list[str | int]:
    found: list[str | int] = ["rl:" + rule.bucket for rule in rules]
    found += (cost, f":{random.getrandbits(48):x}")
    for rule in rules:
        found += (rule.limit, rule.window)
    return found


def _verdict(rules: Sequence[Rule], answer: Sequence[int]) -> Verdict:
    admitted, index, left, free_in, wait = answer
    reset = max(1, math.ceil(free_in / 1000))
    return Verdict(rules[index - 1].limit, left, reset, None if admitted else max(1, math.ceil(wait / 1000)))


@cache
def breaker_client(probing: bool) -> redis.Redis:
    seconds = PROBE_TIMEOUT if probing else TIMEOUT
    # No retries: a caller waits for one time-out at most.
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=seconds, socket_connect_timeout=seconds, retry=None)


class ValkeyBreaker:
    """A circuit breaker: it opens at the first failure, and then one request every `PROBE_EVERY` seconds probes Valkey."""

    def __init__(self) -> None:
        self._away = False
        self._probe_at = self._logged_at = float("-inf")

    def timeout(self) -> float:
        """Seconds that this request may wait for Valkey; 0 if it should not call Valkey."""
        if not self._away:
            return TIMEOUT
        now = time.monotonic()
        if now < self._probe_at:
            return 0
        self._probe_at = now + PROBE_EVERY
        return PROBE_TIMEOUT

    def failed(self, exc: BaseException) -> None:
        now = time.monotonic()
        self._away, self._probe_at = True, now + PROBE_EVERY
        if now - self._logged_at >= LOG_EVERY:
            self._logged_at = now
            log.warning("Valkey is unavailable (%s): each process now counts rate limits by itself", type(exc).__name__)

    def worked(self) -> None:
        if self._away:
            self._away = False
            log.warning("Valkey is available again: rate limits are shared again and start empty")


class LocalWindows:
    """The same windows in this process's memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, rules: Sequence[Rule], cost: int) -> Verdict:
        now = time.monotonic()
        with self._lock:
            verdicts = [self._look(rule, now, cost) for rule in rules]
            refused = [verdict for verdict in verdicts if verdict.retry_after is not None]
            if refused:
                return max(refused, key=lambda verdict: verdict.retry_after or 0)
            for rule in rules:
                self._hits[rule.bucket].extend([now] * cost)
            while len(self._hits) > MAX_LOCAL:
                self._hits.popitem(last=False)
            return min(verdicts, key=lambda verdict: verdict.remaining)

    def _look(self, rule: Rule, now: float, cost: int) -> Verdict:
        hits = self._hits.setdefault(rule.bucket, deque())
        self._hits.move_to_end(rule.bucket)
        while hits and hits[0] <= now - rule.window:
            hits.popleft()
        reset = math.ceil(hits[0] + rule.window - now) if hits else rule.window
        free = rule.limit - len(hits)
        if free >= cost:
            return Verdict(rule.limit, free - cost, reset)
        needed = cost - free - 1
        wait = hits[needed] + rule.window - now if needed < len(hits) else rule.window
        return Verdict(rule.limit, max(free, 0), reset, max(1, math.ceil(wait)))


valkey_breaker = ValkeyBreaker()
local_windows = LocalWindows()
