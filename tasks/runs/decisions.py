"""A person said yes or no to a tool call of a task's run: the run goes on in the queue."""

from __future__ import annotations

from agents.models import AgentRun
from tasks.models import Status, TaskAttempt
from tasks.runs import store as task_runs


def on_decision(row: AgentRun) -> bool:
    """Whether a parked agent run of which everything is decided is a task's: its run then goes on in the queue."""
    attempt = TaskAttempt.objects.filter(agent_run_id=row.id).select_related("run").first()
    if attempt is None:
        return False
    task_runs.requeue(attempt.run_id, was=Status.WAITING_APPROVAL)  # not parked yet: the sweeper finds it decided
    return True
