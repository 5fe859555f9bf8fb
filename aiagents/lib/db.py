"""Database work from async code: one hop to a thread that keeps its connection.

Django's own `sync_to_async` gives every request its own thread and so its own connection; the doors that carry
tokens would open one per call. Here a few threads (`settings.DB_THREADS`) serve the whole process. With
`DB_THREADS = 0` (tests) the call runs on the caller's main thread, inside the test's transaction.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from aiagents.lib.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
_pool: ThreadPoolExecutor | None = None


def _executor() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(settings.DB_THREADS, thread_name_prefix="db")
    return _pool


async def in_db(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a short, blocking database function. A lost server is `Unavailable` (503).

    The function must be whole in itself: its transaction may not outlive it.
    """
    if not settings.DB_THREADS:
        return await sync_to_async(function)(*args, **kwargs)
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_executor(), lambda: context.run(lambda: _call(function, *args, **kwargs)))


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if connection.errors_occurred:
        close_old_connections()
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError) as exc:
        connection.close()
        raise Unavailable("The database is away or overloaded; try again shortly.") from exc
