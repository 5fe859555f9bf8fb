"""The Celery application; tasks stand in each app's tasks.py.

The id of the request that starts a task travels in the message's headers and stands on the task's log lines.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from django.conf import settings

from aiagents.core.logs import context

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")
app = Celery("aiagents")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
HEADER = "aiagents_request_id"


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """A receiver is all it takes: Celery then leaves logging as Django's settings made it."""


@signals.worker_init.connect
def _no_pool(**_: Any) -> None:
    """A worker's threads keep a connection each. Celery closes a pool after every task, under those who still use it."""
    for database in settings.DATABASES.values():
        database.get("OPTIONS", {}).pop("pool", None)


@signals.before_task_publish.connect
def _send_request_id(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None and (current := context.request_id.get()):
        headers.setdefault(HEADER, current)


@signals.task_prerun.connect
def _receive_request_id(task_id: str = "", task: Any = None, **_: Any) -> None:
    if getattr(getattr(task, "request", None), "is_eager", False):
        return  # it runs inside its caller's context
    # A task that nobody requested (beat) begins a request of its own. Celery runs tasks one after the other in one context.
    context.accept_request_id(_offered(task))
    context.task_id.set(task_id)
    context.user_id.set("")
    context.call_id.set("")


@signals.task_postrun.connect
def _forget_request_id(task: Any = None, **_: Any) -> None:
    if getattr(getattr(task, "request", None), "is_eager", False):
        return
    context.request_id.set("")
    context.task_id.set("")
    context.user_id.set("")
    context.call_id.set("")


def _offered(task: Any) -> str | None:
    request = getattr(task, "request", None)
    found = getattr(request, HEADER, None) or (getattr(request, "headers", None) or {}).get(HEADER)
    return found if isinstance(found, str) else None
