"""Why live work is cancelled. The cause is the message of the task's cancellation, so it reaches whatever the task awaits."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    CANCELLED = "cancelled"
    """A person, or the program that asked for the work."""
    INTERRUPTED = "interrupted"
    """The process shuts down."""


def cancel(task: asyncio.Task[Any], cause: Cause) -> None:
    """Cancel the task, with the cause for `cause_of`."""
    task.cancel(cause)


def cause_of(exc: BaseException) -> Cause:
    """The cause of a CancelledError or GeneratorExit. Without one it is a cancellation: a reader that left."""
    return Cause.INTERRUPTED if Cause.INTERRUPTED in exc.args else Cause.CANCELLED
