"""Django's PostgreSQL backend with a pool that fails fast while the server is unreachable and recovers at once.

psycopg's own pool lets each caller wait for its whole time-out while the server refuses connections, and reconnects with
growing delays: errors would come late, and the outage would last longer than the database's.
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
# Seconds: the wait for a pooled connection before a probe; the probe's time-out; the pause between two probes during an outage;
# after which the pool gives up an attempt to connect (the next caller starts a new one, without psycopg's growing delays).
POOL_WAIT, PROBE_TIMEOUT, PROBE_EVERY, RECONNECT_WITHIN = 1.0, 2, 0.5, 1.0


class Pool(ConnectionPool):
    """During an outage one caller at a time probes the server, and all others fail at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(check=_check, reconnect_timeout=RECONNECT_WITHIN, **options)
        self._probing = threading.Lock()
        self._away = False
        self._probe_at = 0.0

    def getconn(self, timeout: float | None = None) -> Any:
        if self._away:
            if time.monotonic() < self._probe_at or not self._probing.acquire(blocking=False):
                raise psycopg.OperationalError("the database is away")
            try:
                self._probe()
            finally:
                self._probing.release()
        wait = self.timeout if timeout is None else timeout
        try:
            return super().getconn(min(POOL_WAIT, wait))
        except PoolTimeout:
            if wait <= POOL_WAIT:
                raise
            self._probe()
        # The server answers: all connections of the pool are in use.
        return super().getconn(wait - POOL_WAIT)

    def _probe(self) -> None:
        """Open and close a connection outside the pool. Raises the server's OperationalError."""
        try:
            psycopg.connect(**{**self.kwargs, "connect_timeout": PROBE_TIMEOUT}).close()  # type: ignore[arg-type,dict-item]  # the arguments come from Django's settings
        except psycopg.OperationalError:
            self._away, self._probe_at = True, time.monotonic() + PROBE_EVERY
            raise
        if self._away:
            self._away = False
            log.warning("database_is_back")


def _check(connection: Any) -> None:
    """Reject a connection that the server closed while it was pooled. The check of a live, silent one is one system call."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's wrapper, with `Pool` where the settings enable one."""

    _connection_pools: dict[str, Any]
    _configure_connection: Any

    @property
    def pool(self) -> Pool | None:  # type: ignore[override]  # Django's stubs have an attribute here
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            wanted = {**self.get_connection_params(), "autocommit": True}  # Django sets its own value later
            made = Pool(kwargs=wanted, open=False, configure=self._configure_connection, **options)
            self._connection_pools.setdefault(self.alias, made)
        return self._connection_pools[self.alias]
