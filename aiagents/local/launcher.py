"""Detects that the make process that started `manage.py up` should end. `make` forwards SIGTERM and no other signal.

Ctrl-C in a terminal reaches every process. After a SIGINT or SIGHUP to make only, make would wait for its child for ever;
after a SIGKILL of make its child would go on running.
"""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

# GNU make catches these signals and removes its handler when one arrives; a signal that it inherited as ignored stays ignored.
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class Launcher:
    """The make process with this pid."""

    def __init__(self, pid: int) -> None:
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
            self._is_make = "make" in self._process.name()
        except psutil.Error:
            self._process = None

    def has_ended(self) -> bool:
        """Whether the process ended or got a signal to end. Without /proc (macOS) only the former is detected."""
        try:
            if self._process is None or not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        return self._is_make and any(not _handled(self._process.pid, sign) for sign in _ENDING)


def _handled(pid: int, sign: signal.Signals) -> bool:
    """Whether the process catches or ignores the signal; True if the kernel does not report it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    masks = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    try:
        handled = int(masks["SigCgt"], 16) | int(masks["SigIgn"], 16)
    except (KeyError, ValueError):
        return True
    return bool(handled >> (sign - 1) & 1)
