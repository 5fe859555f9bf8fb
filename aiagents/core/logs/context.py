"""Context variables that every log line of a request includes, in views, sockets, database threads and Celery tasks."""

from __future__ import annotations

import re
from contextvars import ContextVar

from aiagents.core.ids import uuid7

request_id: ContextVar[str] = ContextVar("request_id", default="")
user_id: ContextVar[str] = ContextVar("user_id", default="")
# Set by the code that makes a model call or runs a task.
call_id: ContextVar[str] = ContextVar("call_id", default="")
task_id: ContextVar[str] = ContextVar("task_id", default="")

LOGGED = (request_id, user_id, call_id, task_id)
_VALID = re.compile(r"[A-Za-z0-9._:-]{8,64}")


def accept_request_id(offered: str | None) -> str:
    """Set the request id of this context and return it: the offered id if it is valid, else a new one.

    A valid id has 8 to 64 letters, digits and characters of `._:-`.
    """
    value = offered if offered and _VALID.fullmatch(offered) else uuid7().hex
    request_id.set(value)
    return value
