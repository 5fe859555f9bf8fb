"""Whether the program that started `manage.py up` wants it to end: `make` passes SIGTERM on, and no other signal.

Ctrl-C in a terminal reaches every process by itself. SIGINT and SIGHUP that are sent to make alone leave it waiting for its
child for ever, and SIGKILL leaves the child alone.
"""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

# GNU make catches these and takes its handler away when one of them comes; a signal it was started to ignore stays ignored.
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
        """Whether it is gone or was asked to end. Where there is no /proc (macOS) only the former can be seen."""
        try:
            if self._process is None or not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        return self._is_make and any(not _handled(self._process.pid, sign) for sign in _ENDING)


def _handled(pid: int, sign: signal.Signals) -> bool:
    """Whether the process catches or ignores the signal; True where the kernel does not say."""
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
