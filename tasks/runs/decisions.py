"""A decision on a tool call of a task's run: the run continues in the queue."""

from __future__ import annotations

from agents.models import AgentRun
from tasks.models import Status, TaskAttempt
from tasks.runs import store as task_runs


def on_decision(row: AgentRun) -> bool:
    """Return whether a parked agent run whose calls are all decided is a task's; its run then continues in the queue."""
    attempt = TaskAttempt.objects.filter(agent_run_id=row.id).select_related("run").first()
    if attempt is None:
        return False
    task_runs.requeue(attempt.run_id, was=Status.WAITING_APPROVAL)  # not parked yet: the sweeper finds it decided
    return True
