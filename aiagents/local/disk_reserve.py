"""A reserve file that `manage.py up` keeps on the disk and releases piece by piece when the disk is full."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from aiagents.core import storage
from aiagents.local.processes import print_line

# Fewer free bytes than this count as a full disk. A piece is released only after it was full for so long: the program that
# filled it has then failed and does not take the piece as well.
FULL_BELOW, SETTLED_SECONDS = 4 * storage.MIB, 0.4
PIECE = 24 * storage.MIB
# Seconds between two equal lines.
REPORT_EVERY = 60.0


class Reserve:
    """The file `reserve` in `folder`. Call `tick` often."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / storage.RESERVE
        self._full_since: float | None = None
        self._reported_at = -REPORT_EVERY
        self._low = False

    def tick(self) -> None:
        """Release a piece of the reserve on a full disk, or allocate it again. Never raises."""
        with contextlib.suppress(OSError):
            self._tick(storage.disk_space(self._folder), time.monotonic())

    def _tick(self, space: storage.DiskSpace, now: float) -> None:
        if space.free >= FULL_BELOW:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        elif space.held and now - self._full_since >= SETTLED_SECONDS:
            self._release(space)
            self._full_since = None
        if not space.low and space.held < space.wanted and space.free > 2 * space.wanted:
            self._allocate(space.wanted)
        self._report(space, now)

    def _release(self, space: storage.DiskSpace) -> None:
        left = space.held - PIECE
        if left > 0:
            os.truncate(self._path, left)
        else:
            self._path.unlink(missing_ok=True)
        print_line("up", f"the disk is full: released {min(PIECE, space.held) // storage.MIB} MiB of the reserve for running work")

    def _allocate(self, size: int) -> None:
        try:
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.write(b"\0" * size)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise

    def _report(self, space: storage.DiskSpace, now: float) -> None:
        if space.low and now - self._reported_at >= REPORT_EVERY:
            self._reported_at = now
            print_line("up", f"{space.free // storage.MIB} MiB are free on the disk of {self._folder}: new work is refused with 503")
        elif self._low and not space.low:
            self._reported_at = -REPORT_EVERY
            print_line("up", f"the disk has free space again ({space.free // storage.MIB} MiB): new work is accepted")
        self._low = space.low
