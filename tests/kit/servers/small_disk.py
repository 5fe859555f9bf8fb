"""A file system of a few megabytes that tests can fill: a tmpfs, mounted where the test may mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """The folder of an empty file system of `size` (as mount writes it: 300m). Skips the test where mounting is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="aiagents-disk-"))
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "aiagents-test", str(folder)], capture_output=True, text=True
        )
        reason = done.stderr.strip()
    except FileNotFoundError:
        reason = "there is no mount command"
    if os.geteuid() != 0 or not folder.is_mount():
        folder.rmdir()
        pytest.skip(f"left out: a full disk needs the right to mount a small tmpfs ({reason})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


def fill(folder: Path, name: str = "filler") -> Path:
    """Take all the room that is left; delete the file that is returned to free it."""
    path = folder / name
    size = 1024 * 1024
    with path.open("ab", buffering=0) as file:
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    return path
