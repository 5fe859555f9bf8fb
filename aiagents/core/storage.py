"""Free space on the disk under DATA_DIR, if it holds the database: a reserve file, and the limit for new work.

`manage.py up` keeps a reserve file there. While little space is free, new work is refused. The remaining space and the
reserve are for what must go on: sign-ins, reads, and the end of running work.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from django.conf import settings

from aiagents.core.errors import Unavailable

MIB = 1024 * 1024
RESERVE = "reserve"
# The reserve of a large disk and of a small one. PostgreSQL needs 16 MiB at once for a segment of its log.
MOST, LEAST, SHARE, LARGEST_SHARE = 64 * MIB, 24 * MIB, 0.05, 0.1
# Seconds for which one measurement of the disk is used.
FRESH = 0.5
RETRY_AFTER = 30


class StorageFull(Unavailable):
    """The disk is full: nothing was started and nothing was charged."""

    code = "storage_full"
    retry_after = RETRY_AFTER
    message = "The server's disk is full: you can read, but new work is refused until there is free space."


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Free bytes of a disk, and the reserve's bytes: `held` is its current size, `wanted` the size that it should have."""

    free: int
    held: int
    wanted: int

    @property
    def low(self) -> bool:
        """Whether new work is refused: less is free than twice the reserve's size."""
        return self.free + self.held < 2 * self.wanted


def disk_space(folder: Path) -> DiskSpace:
    """The state of the disk under `folder`. Raises OSError."""
    found = os.statvfs(folder)
    total = found.f_blocks * found.f_frsize
    wanted = int(min(MOST, max(LEAST, total * SHARE), total * LARGEST_SHARE))
    held = 0
    with contextlib.suppress(FileNotFoundError):
        held = (folder / RESERVE).stat().st_blocks * 512
    return DiskSpace(found.f_bavail * found.f_frsize, held, wanted)


def guarded() -> bool:
    """Whether DATA_DIR holds the database. A database elsewhere reports itself that its disk is full."""
    name = settings.DATABASES["default"]["NAME"]
    sqlite = isinstance(name, Path) and name.is_relative_to(settings.DATA_DIR)
    return settings.EMBEDDED_POSTGRES or settings.EMBEDDED_VALKEY or sqlite


last_look: tuple[float, bool] = (-FRESH, False)


def low() -> bool:
    """Whether there is too little space for new work; the value is at most FRESH seconds old."""
    global last_look
    now = time.monotonic()
    if now - last_look[0] >= FRESH:
        found = False
        if guarded():
            with contextlib.suppress(OSError):
                found = disk_space(settings.DATA_DIR).low
        last_look = (now, found)
    return last_look[1]


def refuse_if_low() -> None:
    """Raise StorageFull when there is too little space for new work. Call it before work that writes to the database."""
    if low():
        raise StorageFull


def is_full(exc: BaseException) -> bool:
    """Whether this error or one of its causes means a full disk: ours, PostgreSQL's, SQLite's or Valkey's."""
    return any(_means_full(one) for one in _chain(exc))


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if exc is None:
            return
        yield exc
        exc = exc.__cause__ or exc.__context__


def _means_full(exc: BaseException) -> bool:
    # 53100 is PostgreSQL's disk_full, 13 is SQLITE_FULL.
    if getattr(exc, "sqlstate", None) == "53100" or getattr(exc, "sqlite_errorcode", None) == 13:
        return True
    if isinstance(exc, redis.ResponseError) and str(exc).startswith("MISCONF"):  # Valkey's code: it cannot write its log
        return True
    return isinstance(exc, OSError) and exc.errno in (28, 122)  # ENOSPC, EDQUOT
