"""One thread of a process that says, every few seconds, which of its pieces of work are still alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import close_old_connections, connection

log = logging.getLogger(__name__)
BEAT_SECONDS = 10


class Heart:
    """Calls `beat` with the ids that live. A thread, so that it works for sync and async work alike and while a loop is busy."""

    def __init__(self, beat: Callable[[list[int]], None]) -> None:
        self._beat = beat
        self._lock = threading.Lock()
        self._living: set[int] = set()
        self._thread: threading.Thread | None = None

    def start(self, living: int) -> None:
        with self._lock:
            self._living.add(living)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()

    def stop(self, living: int) -> None:
        with self._lock:
            self._living.discard(living)

    def stop_all(self) -> None:
        with self._lock:
            self._living.clear()

    def _run(self) -> None:
        """Ends when nothing lives at a beat."""
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                living = list(self._living)
                if not living:
                    self._thread = None
                    return
            try:
                close_old_connections()
                self._beat(living)
            except Exception:
                log.warning("a heartbeat of %d failed", len(living), exc_info=True)
            finally:
                connection.close()
