"""A run as clients see it: the same JSON for REST, the event stream and webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from django.utils import timezone

from agents.events import Failed, RunStatus, TaskStatus, TurnEnded, write
from aiagents.core.jsonio import money
from tasks.models import ENDED, Status, Task, TaskRun


def whole(run: TaskRun) -> dict[str, Any]:
    """Return the run without its steps. After its end only costs that are settled late change it."""
    return {
        "id": str(run.id),
        "task_id": str(run.task_id),
        "number": run.number,
        "trigger": run.trigger,
        "status": run.status,
        "scheduled_for": time(run.scheduled_for),
        "attempt": run.attempt,
        "next_attempt_at": time(run.not_before) if run.status == Status.SCHEDULED else None,
        "input": run.input,
        "variables": run.variables,
        "output": run.output,
        "finish_reason": run.finish_reason,
        "error": error(run),
        "model": run.model,
        "usage": {"input_tokens": run.input_tokens, "output_tokens": run.output_tokens},
        "cost_usd": money(run.cost_usd),
        "simulated": run.simulated,
        "request_id": run.request_id,
        "created_at": time(run.created_at),
        "started_at": time(run.started_at),
        "ended_at": time(run.ended_at),
    }


def message(run: TaskRun) -> dict[str, Any]:
    """Return the run in the shape of an assistant message, as `message.end` has it, with the run itself beside it."""
    latency = round((run.ended_at - run.started_at).total_seconds() * 1000) if run.ended_at and run.started_at else None
    return {
        "id": str(run.id),
        "task_id": str(run.task_id),
        "role": "assistant",
        "content": run.output,
        "status": run.status,
        "model": run.model,
        "finish_reason": run.finish_reason,
        "usage": {"input_tokens": run.input_tokens, "output_tokens": run.output_tokens},
        "cost_usd": money(run.cost_usd),
        "latency_ms": latency,
        "error": error(run),
        "simulated": run.simulated,
        "run": whole(run),
    }


def event(run: TaskRun) -> tuple[str, bytes]:
    """Return the event of a run whose row has changed: its end or its state."""
    if run.status not in ENDED:
        next_at = time(run.not_before) if run.status == Status.SCHEDULED else None
        return write(RunStatus(str(run.id), str(run.task_id), run.status, run.attempt, next_at, error(run)))
    if run.status == Status.FAILED:
        return write(Failed(error(run) or {}, {"message": message(run)}))
    return write(TurnEnded(message(run)))


def error(run: TaskRun) -> dict[str, Any] | None:
    """Keys sorted: the database keeps an order of its own, and a replay is to be equal to the byte."""
    return orjson.loads(orjson.dumps(run.error, option=orjson.OPT_SORT_KEYS)) if run.error else None


def brief(run: TaskRun | None) -> dict[str, Any] | None:
    """Return what a list of tasks shows of each task's last run."""
    if run is None:
        return None
    return {
        "id": str(run.id),
        "number": run.number,
        "status": run.status,
        "attempt": run.attempt,
        "cost_usd": money(run.cost_usd),
        "started_at": time(run.started_at),
        "ended_at": time(run.ended_at),
        "error": None if not run.error else {name: run.error.get(name) for name in ("type", "code", "message")},
    }


def snapshot(task: Task) -> tuple[str, bytes]:
    """Return the first event of a task's stream: the state of the task."""
    next_at = time(task.next_run_at)
    return write(TaskStatus(str(task.id), task.status, next_at, brief(task.last_run), time(timezone.now()) or ""))


def time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
