"""One async Valkey client per event loop, and one sync client per process."""

from __future__ import annotations

import asyncio
from functools import cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings

# The exceptions of a client while its server is unreachable.
AWAY = (redis.RedisError, OSError, TimeoutError)
clients_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()
# Seconds, short so that an unreachable Valkey delays a request little. Each caller has a policy for errors.
_OPTIONS = {"socket_timeout": 2.0, "socket_connect_timeout": 0.5}


def client() -> redis.asyncio.Redis:
    """The running loop's client (bytes in, bytes out); never shared between loops."""
    loop = asyncio.get_running_loop()
    if loop not in clients_by_loop:
        # Blocking: a burst waits for a free connection instead of failing.
        pool = redis.asyncio.BlockingConnectionPool.from_url(settings.REDIS_URL, max_connections=50, timeout=2.0, **_OPTIONS)
        clients_by_loop[loop] = redis.asyncio.Redis(connection_pool=pool)
    return clients_by_loop[loop]


def blocking_client() -> redis.asyncio.Redis:
    """A new client for blocking reads (XREAD BLOCK, pub/sub), without a read time-out. The caller closes it."""
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5)


def cancelled() -> bool:
    """Whether the running task was cancelled.

    redis-py 8.1 loses a cancellation that arrives while it connects. Every loop around this client must check this, or its
    task does not end with its event loop.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@cache
def sync_client() -> redis.Redis:
    """The process's client for sync code."""
    return redis.Redis.from_url(settings.REDIS_URL, **_OPTIONS)
