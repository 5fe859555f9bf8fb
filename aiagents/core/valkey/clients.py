"""One async Valkey client per event loop, and one sync client per process."""

from __future__ import annotations

import asyncio
from functools import cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings

# What a client raises while its server is away.
AWAY = (redis.RedisError, OSError, TimeoutError)
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()
# Seconds. A Valkey that is away must cost a request little: callers treat errors by their stated policy.
_OPTIONS = {"socket_timeout": 2.0, "socket_connect_timeout": 0.5}


def client() -> redis.asyncio.Redis:
    """The running loop's client (bytes in, bytes out); never shared between loops."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        # Blocking: a burst waits its turn for a connection instead of failing.
        pool = redis.asyncio.BlockingConnectionPool.from_url(settings.REDIS_URL, max_connections=50, timeout=2.0, **_OPTIONS)
        _clients[loop] = redis.asyncio.Redis(connection_pool=pool)
    return _clients[loop]


def blocking_client() -> redis.asyncio.Redis:
    """A client of its own for blocking reads (XREAD BLOCK, pub/sub), with no read time-out. The caller closes it."""
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5)


def leaving() -> bool:
    """Whether the running task was cancelled. redis-py 8.1 loses a cancellation that comes while it connects, so that
    every loop around this client must ask, or it outlives its event loop's end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@cache
def sync_client() -> redis.Redis:
    """The process's client for sync code."""
    return redis.Redis.from_url(settings.REDIS_URL, **_OPTIONS)
