"""File permissions of an installation: only its system user may read the prompts, keys and responses in its files."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)
UMASK = 0o077
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_new(path: Path, text: str) -> None:
    """Create a file that only its owner may read. Raises FileExistsError if it exists."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def tighten(folder: Path) -> int:
    """Remove other users' permissions from `folder` and everything in it; return how many files were changed.

    An earlier version created them with wider permissions. For root the folder keeps its group's execute bit, because the
    embedded PostgreSQL then runs as another user (aiagents/local/embedded.py). Symbolic links are not followed or changed.
    """
    if not folder.is_dir():
        return 0
    passable = stat.S_IXGRP if os.geteuid() == 0 else 0
    return _take(folder, _OTHERS & ~passable) + sum(_take(path, _OTHERS) for path in _inside(folder))


def _inside(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            yield Path(parent, name)


def _take(path: Path, bits: int) -> int:
    with contextlib.suppress(FileNotFoundError):  # a server's temporary file
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & bits:
            return 0
        try:
            path.chmod(stat.S_IMODE(mode) & ~bits)
            return 1
        except PermissionError:
            log.warning("file_open_to_others", extra={"path": str(path), "mode": oct(stat.S_IMODE(mode))})
    return 0
