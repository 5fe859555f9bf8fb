"""A log that a failure cannot flood: of warnings and errors that repeat, a few a minute are written, with how many were left out.

A server that is away or a full disk fails every request and every sweep in the same way; each would say so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

# Lines of one kind that are written in so many seconds. Of a full disk it is one: nothing in it differs.
MOST, SECONDS = 5, 60.0
# Kinds that are remembered; beyond it the oldest are forgotten.
_KINDS = 1000
# Lines of these are never left out: each is about one request of its own.
_WHOLE = frozenset({"aiagents.access"})
_LEFT_OUT = "left_out"

Kind = tuple[str, int, str, str]


class _Window:
    __slots__ = ("began", "left_out", "written")

    def __init__(self, began: float) -> None:
        self.began, self.written, self.left_out = began, 0, 0


class Repeats(logging.Filter):
    """For all handlers of a process together. A record that follows left-out ones carries their number as `left_out`."""

    def __init__(self, one_only: Callable[[BaseException], bool] = lambda exc: False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._one_only, self._clock = one_only, clock
        self._lock = threading.Lock()
        self._windows: dict[Kind, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.name in _WHOLE:
            return True
        decided = getattr(record, "_written", None)  # by another handler
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
                if len(self._windows) > _KINDS:
                    del self._windows[next(iter(self._windows))]
                if left_out:
                    setattr(record, _LEFT_OUT, left_out)
            if window.written >= most:
                window.left_out += 1
                return False
            window.written += 1
            return True


def _template(record: logging.LogRecord) -> str:
    """What is the same in all lines of a kind: the text before values are put into it."""
    event = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
    return str(event)[:200]
