"""Files of this installation are for its own system user: prompts, keys and answers lie in them."""

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
    """Make a file that only its owner may read. Raises FileExistsError when it is there."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def tighten(folder: Path) -> int:
    """Take everything in `folder` and the folder itself away from other users, as an earlier version left it; how many it took.

    For root the folder stays passable to its group: the embedded PostgreSQL then runs as another user (aiagents/local/embedded.py).
    Symbolic links are neither followed nor changed.
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
