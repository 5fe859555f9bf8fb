"""Database work from async code, in a thread that keeps its connection.

Django's own `sync_to_async` gives every request a thread and so a connection; an asynchronous endpoint would open one
per call. Here a few threads (`settings.DB_THREADS`) serve the whole process. With `DB_THREADS = 0` (tests) the call
runs on the caller's main thread, inside the test's transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections, connection, connections

from aiagents.core.db.threads import Threads
from aiagents.core.error_mapping import DATABASE_FAILED, database_error

P = ParamSpec("P")
T = TypeVar("T")
database_threads: Threads | None = None


def _threads() -> Threads:
    global database_threads
    if database_threads is None:
        database_threads = Threads(settings.DB_THREADS, "db")
    return database_threads


def on_postgres() -> bool:
    """Whether the database is PostgreSQL.

    It reads the settings: on an event loop `connection` would create a new connection for each request.
    """
    return connections.settings["default"]["ENGINE"] != "django.db.backends.sqlite3"


async def in_db(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a short, blocking database function in a thread and return its result.

    Raises Unavailable (503) when the server is lost and StorageFull when its disk is full. The function must end every
    transaction that it begins.
    """
    if not settings.DB_THREADS:
        return await sync_to_async(function)(*args, **kwargs)
    return await _threads().run(partial(_call, function, *args, **kwargs))


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if connection.errors_occurred:
        close_old_connections()
    try:
        return function(*args, **kwargs)
    except DATABASE_FAILED as exc:
        connection.close()
        raise database_error(exc) from exc
