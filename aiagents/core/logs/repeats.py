"""Rate limit of repeated log records: a few warnings and errors of one kind per minute, with the number suppressed.

An unreachable server or a full disk fails every request and every sweep in the same way and would flood the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

# Lines of one kind that are written per so many seconds. Lines about a full disk are all equal, so only one is written.
MOST, SECONDS = 5, 60.0
# The number of kinds that are remembered; the oldest are dropped.
MOST_KINDS = 1000
# Loggers whose lines are never suppressed: each line is about one request.
_WHOLE = frozenset({"aiagents.access"})
_LEFT_OUT = "left_out"

Kind = tuple[str, int, str, str]


class _Window:
    __slots__ = ("began", "left_out", "written")

    def __init__(self, began: float) -> None:
        self.began, self.written, self.left_out = began, 0, 0


class Repeats(logging.Filter):
    """One filter for all handlers of a process. A record after suppressed ones has their number as `left_out`."""

    def __init__(self, one_only: Callable[[BaseException], bool] = lambda exc: False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._one_only, self._clock = one_only, clock
        self._lock = threading.Lock()
        self._windows: dict[Kind, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.name in _WHOLE:
            return True
        decided = getattr(record, "_written", None)  # set for an earlier handler
        if decided is None:
            decided = record._written = self._decide(record)
        return bool(decided)

    def _decide(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        kind = (record.name, record.levelno, _template(record), type(exc).__name__ if exc is not None else "")
        most = 1 if exc is not None and self._one_only(exc) else MOST
        now = self._clock()
        with self._lock:
            window = self._windows.get(kind)
            if window is None or now - window.began >= SECONDS:
                left_out = window.left_out if window is not None else 0
                self._windows.pop(kind, None)
                window = self._windows[kind] = _Window(now)
                if len(self._windows) > MOST_KINDS:
                    del self._windows[next(iter(self._windows))]
                if left_out:
                    setattr(record, _LEFT_OUT, left_out)
            if window.written >= most:
                window.left_out += 1
                return False
            window.written += 1
            return True


def _template(record: logging.LogRecord) -> str:
    """The text before its values are filled in, which is equal for all lines of one kind."""
    return str(record.msg)[:200]
