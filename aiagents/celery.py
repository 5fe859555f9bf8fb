"""The Celery application; each app has its tasks in tasks.py.

The id of the request that starts a task is in the message's headers and on the task's log lines.
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
    """Do nothing: with a receiver of this signal Celery does not change the logging of Django's settings."""


@signals.worker_init.connect
def no_pool(**_: Any) -> None:
    """Disable the connection pool: Celery closes it after every task, while other threads use it."""
    for database in settings.DATABASES.values():
        database.get("OPTIONS", {}).pop("pool", None)


@signals.before_task_publish.connect
def send_request_id(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None and (current := context.request_id.get()):
        headers.setdefault(HEADER, current)


@signals.task_prerun.connect
def receive_request_id(task_id: str = "", task: Any = None, **_: Any) -> None:
    if getattr(getattr(task, "request", None), "is_eager", False):
        return  # it runs inside its caller's context
    # A task of beat gets a new request id. Celery runs all tasks one after another in one context, so it is always set.
    context.accept_request_id(_offered(task))
    context.task_id.set(task_id)
    context.user_id.set("")
    context.call_id.set("")


@signals.task_postrun.connect
def forget_request_id(task: Any = None, **_: Any) -> None:
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
