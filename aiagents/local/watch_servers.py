"""Supervision of the embedded PostgreSQL and Valkey: `manage.py up` restarts one that died, with growing delays.

Their state is in a file of DATA_DIR, which `/health/ready` reads (aiagents/monitoring/health.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiagents.local import embedded
from aiagents.local.processes import print_line
from aiagents.monitoring import supervised
from aiagents.server.processes import BACKOFF_MAX, STEADY_SECONDS

# Seconds between two checks of the servers' processes.
EVERY = 0.5


@dataclass
class Server:
    """One embedded server. `check` is the name of its check in `/health/ready`."""

    name: str
    check: str
    runs: Callable[[Path], bool]
    start: Callable[[Path], object]
    started: float
    delay: float = 0.5
    not_before: float = 0.0
    missing: bool = False
    restarts: int = 0
    thread: threading.Thread | None = None


class ServerSupervisor:
    """Restarts the embedded servers of this installation. Call `tick` often, from one thread."""

    def __init__(self, data_dir: Path, *, postgres: bool, valkey: bool) -> None:
        self._folder = data_dir
        self._looked = 0.0
        now = time.monotonic()
        self.servers = []
        if postgres:
            self.servers.append(Server("PostgreSQL", "database", embedded.postgres_runs, embedded.start_postgres, now))
        if valkey:
            self.servers.append(Server("Valkey", "valkey", embedded.valkey_runs, embedded.start_valkey, now))
        supervised.clear(data_dir)

    def tick(self) -> None:
        """Check each server and start one that died. Never blocks: a start runs in a thread."""
        now = time.monotonic()
        if now - self._looked < EVERY:
            return
        self._looked = now
        for server in self.servers:
            if server.thread is not None:
                if server.thread.is_alive():
                    continue
                server.thread = None
            if server.runs(self._folder):
                server.missing = False
            elif not server.missing:
                self._found_dead(server, now)
            elif now >= server.not_before:
                server.thread = threading.Thread(target=self._restart, args=(server,), daemon=True)
                server.thread.start()

    def _found_dead(self, server: Server, now: float) -> None:
        lived = now - server.started
        server.delay = 0.5 if lived > STEADY_SECONDS else min(server.delay * 2, BACKOFF_MAX)
        server.missing, server.not_before = True, now + server.delay
        print_line("up", f"{server.name} died after {lived:.0f} s; starting it again in {server.delay:.1f} s")
        self._note(server, "restarting")

    def _restart(self, server: Server) -> None:
        begun = time.monotonic()
        try:
            server.start(self._folder)
        except Exception as exc:  # any error: the next attempt may succeed
            server.delay = min(server.delay * 2, BACKOFF_MAX)
            server.not_before = time.monotonic() + server.delay
            print_line("up", f"{server.name} did not start ({_first_line(exc)}); trying again in {server.delay:.1f} s")
            self._note(server, "restarting")
            return
        server.started = time.monotonic()
        server.restarts += 1
        print_line("up", f"{server.name} runs again after {server.started - begun:.1f} s")
        self._note(server, "running")

    def _note(self, server: Server, state: str) -> None:
        with contextlib.suppress(OSError):  # a full disk: the check still reports that the server is down
            supervised.write(self._folder, server.check, state, server.restarts)

    def end(self, impatient: Callable[[], bool]) -> None:
        """Wait for a start in progress, so that the started server can be stopped.

        A recovery may take minutes: the wait ends once `impatient()` is True, and the server is then stopped at once.
        """
        for server in self.servers:
            while server.thread is not None and server.thread.is_alive() and not impatient():
                server.thread.join(EVERY)
        supervised.clear(self._folder)


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]
