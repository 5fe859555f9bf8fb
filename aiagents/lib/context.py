"""The request's id, carried by contextvars through views, sockets, database threads and into Celery."""

from __future__ import annotations

import re
from contextvars import ContextVar

from aiagents.lib.ids import uuid7

request_id: ContextVar[str] = ContextVar("request_id", default="")
_VALID = re.compile(r"[A-Za-z0-9._:-]{8,64}")


def accept_request_id(offered: str | None) -> str:
    """The offered id if it is harmless (8 to 64 of letters, digits, ._:-), else a new one; bound to this context."""
    value = offered if offered and _VALID.fullmatch(offered) else uuid7().hex
    request_id.set(value)
    return value
