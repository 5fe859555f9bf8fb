"""Room that `manage.py up` keeps for a full disk, in a file, and gives back piece by piece when nothing else is left."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from aiagents.core import storage
from aiagents.local.processes import say

# Less than this is none. Whatever fills the disk must have met its end before a piece is given back, or it takes that too.
NOTHING, SETTLED_SECONDS = 4 * storage.MIB, 0.4
PIECE = 24 * storage.MIB
# Seconds between two lines that say the same.
SAY_EVERY = 60.0


class Reserve:
    """The file `reserve` in `folder`. Call `tick` often."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / storage.RESERVE
        self._full_since: float | None = None
        self._said_at = -SAY_EVERY
        self._low = False

    def tick(self) -> None:
        """Give a piece back, or take the reserve again; nothing most of the time. Never raises."""
        with contextlib.suppress(OSError):
            self._tick(storage.disk_space(self._folder), time.monotonic())

    def _tick(self, room: storage.DiskSpace, now: float) -> None:
        if room.free >= NOTHING:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        elif room.held and now - self._full_since >= SETTLED_SECONDS:
            self._give_back(room)
            self._full_since = None
        if not room.low and room.held < room.wanted and room.free > 2 * room.wanted:
            self._take(room.wanted)
        self._report(room, now)

    def _give_back(self, room: storage.DiskSpace) -> None:
        left = room.held - PIECE
        if left > 0:
            os.truncate(self._path, left)
        else:
            self._path.unlink(missing_ok=True)
        say("up", f"the disk is full: {min(PIECE, room.held) // storage.MIB} MiB of the reserve are free for what must go on")

    def _take(self, size: int) -> None:
        try:
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.write(b"\0" * size)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise

    def _report(self, room: storage.DiskSpace, now: float) -> None:
        if room.low and now - self._said_at >= SAY_EVERY:
            self._said_at = now
            say("up", f"{room.free // storage.MIB} MiB are free on the disk of {self._folder}: new work is refused with 503")
        elif self._low and not room.low:
            self._said_at = -SAY_EVERY
            say("up", f"there is room on the disk again ({room.free // storage.MIB} MiB): new work is taken")
        self._low = room.low
