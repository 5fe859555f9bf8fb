"""Settings of Celery: the broker, the queues, and what beat starts when."""

from __future__ import annotations

from urllib.parse import urlsplit

from celery.schedules import crontab
from kombu import Queue

from aiagents.settings.databases import REDIS_URL


def broker(url: str) -> str:
    """REDIS_URL in kombu's form. With `?db=3` kombu would crash over TCP and use database 0 over a socket."""
    parts = urlsplit(url)
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    number = query.pop("db", "")
    if parts.scheme == "unix":
        query |= {"virtual_host": number} if number else {}
        return f"redis+socket://{parts.path}" + ("?" + "&".join(f"{key}={value}" for key, value in query.items()) if query else "")
    rest = "?" + "&".join(f"{key}={value}" for key, value in query.items()) if query else ""
    return f"{parts.scheme}://{parts.netloc}{'/' + number if number else parts.path}{rest}"


CELERY_BROKER_URL = broker(REDIS_URL)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A Valkey whose disk is full refuses writes (MISCONF); a worker then retries as for an unreachable one, instead of exiting.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
# Seconds. Without these time-outs a hanging broker blocks its senders, and workers do not notice it.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900, "unacked_restore_interval": 10, "socket_timeout": 2.0, "socket_connect_timeout": 1.0, "socket_keepalive": True,
}  # fmt: skip
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_BEAT_SCHEDULER = "aiagents.beat:Scheduler"
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Separate queues, so that sweeps and schedules never wait for long tasks; a worker without -Q serves all of them.
CELERY_TASK_QUEUES = [Queue("celery"), Queue("housekeeping"), Queue("tasks")]
CELERY_TASK_DEFAULT_QUEUE = "celery"
CELERY_TASK_ROUTES = {
    f"{app}.tasks.sweep_*": {"queue": "housekeeping"} for app in ("accounts", "billing", "agents", "chat", "tasks", "aiagents")
} | {
    "tasks.tasks.tick_schedules": {"queue": "housekeeping"},
    "tasks.tasks.run_task": {"queue": "tasks"},
    "tasks.tasks.deliver_webhook": {"queue": "tasks"},
    "aiagents.monitoring.tasks.sample": {"queue": "housekeeping"},
    "aiagents.monitoring.tasks.sweep_*": {"queue": "housekeeping"},
}
CELERY_BEAT_SCHEDULE = {
    "heartbeat": {"task": "aiagents.monitoring.tasks.heartbeat", "schedule": 10.0},
    "sweep-holds": {"task": "billing.tasks.sweep_holds", "schedule": 10.0},
    "update-catalogue": {"task": "billing.tasks.update_catalogue", "schedule": 86400.0},
    "sweep-rollups": {"task": "billing.tasks.sweep_rollups", "schedule": crontab(), "options": {"expires": 50}},
    "verify-rollups": {"task": "billing.tasks.verify_rollups", "schedule": crontab(hour=3, minute=17)},
    "sweep-alerts": {"task": "billing.tasks.sweep_alerts", "schedule": 60.0, "options": {"expires": 50}},
    "prune-holds": {"task": "billing.tasks.prune_holds", "schedule": 3600.0},
    "sweep-turns": {"task": "chat.tasks.sweep_turns", "schedule": 10.0},
    "sweep-deleted": {"task": "chat.tasks.sweep_deleted", "schedule": 60.0, "options": {"expires": 50}},
    "sweep-deleted-agents": {"task": "agents.tasks.sweep_deleted", "schedule": 60.0, "options": {"expires": 50}},
    "sweep-deleted-tasks": {"task": "tasks.tasks.sweep_deleted", "schedule": 60.0, "options": {"expires": 50}},
    "weigh-feedback": {"task": "chat.tasks.weigh_feedback", "schedule": 3600.0},
    "sweep-runs": {"task": "agents.tasks.sweep_runs", "schedule": 10.0},
    "tick-schedules": {"task": "tasks.tasks.tick_schedules", "schedule": 2.0, "options": {"expires": 10}},
    "sweep-task-runs": {"task": "tasks.tasks.sweep_runs", "schedule": 5.0, "options": {"expires": 30}},
    "sweep-mails": {"task": "accounts.tasks.sweep_mails", "schedule": 60.0, "options": {"expires": 50}},
    "sweep-sessions": {"task": "accounts.tasks.sweep_sessions", "schedule": 3600.0},
    "sweep-idempotency": {"task": "aiagents.tasks.sweep_idempotency", "schedule": 3600.0},
    # At the full minute: it stores the figures of the previous minute.
    "sample-metrics": {"task": "aiagents.monitoring.tasks.sample", "schedule": crontab(), "options": {"expires": 50}},
    "sweep-metrics": {"task": "aiagents.monitoring.tasks.sweep_metrics", "schedule": 3600.0},
} | {
    f"heartbeat-{queue.name}": {"task": "aiagents.monitoring.tasks.heartbeat", "schedule": 10.0, "args": (queue.name,), "options": {"queue": queue.name}}
    for queue in CELERY_TASK_QUEUES if queue.name != CELERY_TASK_DEFAULT_QUEUE
}  # fmt: skip
