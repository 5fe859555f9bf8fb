"""Django's PostgreSQL backend with a pool that says at once that the server is away, and is back as soon as the server is.

psycopg's pool alone lets each caller wait out its whole time-out for a server that refuses connections, and tries again
ever more rarely: the product would be slow to say no, and stay away longer than its database.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from typing import Any

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool, PoolTimeout

log = logging.getLogger(__name__)
# Seconds: what the pool gets before the server itself is asked; for its answer; between two questions while it is away;
# after which the pool drops an attempt to connect (a new caller then begins a new one, without psycopg's growing delays).
PATIENCE, ANSWER_WITHIN, ASK_EVERY, RECONNECT_WITHIN = 1.0, 2, 0.5, 1.0


class Pool(ConnectionPool):
    """While the server is away one caller at a time asks it, and all others fail at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(check=_check, reconnect_timeout=RECONNECT_WITHIN, **options)
        self._asking = threading.Lock()
        self._away = False
        self._ask_at = 0.0

    def getconn(self, timeout: float | None = None) -> Any:
        if self._away:
            if time.monotonic() < self._ask_at or not self._asking.acquire(blocking=False):
                raise psycopg.OperationalError("the database is away")
            try:
                self._ask()
            finally:
                self._asking.release()
        patience = self.timeout if timeout is None else timeout
        try:
            return super().getconn(min(PATIENCE, patience))
        except PoolTimeout:
            if patience <= PATIENCE:
                raise
            self._ask()
        # The server is there: it is the pool that is all in use.
        return super().getconn(patience - PATIENCE)

    def _ask(self) -> None:
        """Ask the server itself, beside the pool; its error if it is away."""
        try:
            psycopg.connect(**{**self.kwargs, "connect_timeout": ANSWER_WITHIN}).close()  # type: ignore[arg-type,dict-item]
        except psycopg.OperationalError:
            self._away, self._ask_at = True, time.monotonic() + ASK_EVERY
            raise
        if self._away:
            self._away = False
            log.warning("database_is_back")


def _check(connection: Any) -> None:
    """Refuse a connection that the server closed while it lay in the pool; a live and silent one costs one system call."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's, with that pool where the settings ask for one."""

    _connection_pools: dict[str, Any]
    _configure_connection: Any

    @property
    def pool(self) -> Pool | None:  # type: ignore[override]
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            wanted = {**self.get_connection_params(), "autocommit": True}  # Django sets it as it wants it later on
            made = Pool(kwargs=wanted, open=False, configure=self._configure_connection, **options)
            self._connection_pools.setdefault(self.alias, made)
        return self._connection_pools[self.alias]
