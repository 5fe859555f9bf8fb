"""A log file that several processes write and rotate."""

from __future__ import annotations

import fcntl
import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES, KEPT = 20 * 1024 * 1024, 5


class SharedFileHandler(RotatingFileHandler):
    """Rotates under a lock, and reopens the file after another process rotated it. Never raises; a full disk loses lines."""

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=max_bytes, backupCount=kept, encoding="utf-8", errors="backslashreplace", delay=True)

    def shouldRollover(self, record: logging.LogRecord) -> int:
        self._follow()
        if self.stream is None:
            self.stream = self._open()
        return int(os.fstat(self.stream.fileno()).st_size >= self.maxBytes)

    def doRollover(self) -> None:
        with open(f"{self.baseFilename}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another process may have rotated the file while this one waited.
            if os.path.exists(self.baseFilename) and os.path.getsize(self.baseFilename) >= self.maxBytes:
                super().doRollover()
            self._follow()

    def _follow(self) -> None:
        """Close a file that was renamed or removed."""
        if self.stream is None:
            return
        ours = os.fstat(self.stream.fileno())
        try:
            named = os.stat(self.baseFilename)
        except FileNotFoundError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
            # Drop the reference first: `close` flushes and fails on a full disk, and every later write would fail as well.
            old, self.stream = self.stream, None  # type: ignore[assignment]  # the base class opens the file later
            old.close()

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing: the console has the line."""
