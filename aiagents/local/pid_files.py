"""The processes that pid files name: whether one is still the server that wrote its file, and how to stop it."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def pid_in(path: Path) -> int | None:
    """The pid in a server's pid file, or None; after a power failure another process may have it."""
    first = first_line(path)
    return int(first) if first.isdigit() else None


def first_line(path: Path) -> str:
    """The first line of a file; empty if the file cannot be read."""
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""


def works_in(pid: int, name: str, folder: Path) -> bool:
    """Whether the process with this pid is our server, by its working directory. After a power failure another may have the pid."""
    import psutil

    if not _is(pid, name):
        return False
    try:
        return Path(psutil.Process(pid).cwd()) == folder.resolve()
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False


def _is(pid: int, name: str) -> bool:
    """Whether a live process of that name has the pid."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.name().startswith(name)
    except psutil.NoSuchProcess:
        return False


def stop(pid: int, sign: signal.Signals, timeout: float) -> None:
    """Send the signal and wait for the process to end; after `timeout` seconds kill it."""
    import psutil

    try:
        process = psutil.Process(pid)
        os.kill(pid, sign)
        process.wait(timeout)
    except psutil.TimeoutExpired:
        process.kill()
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
