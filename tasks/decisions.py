"""A person said yes or no to a tool call of a task's run: the run goes on in the queue."""

from __future__ import annotations

from agents.models import AgentRun
from tasks import runs
from tasks.models import Status, TaskAttempt


def on_decision(row: AgentRun) -> bool:
    """Whether a parked agent run of which everything is decided is a task's: its run then goes on in the queue."""
    attempt = TaskAttempt.objects.filter(agent_run_id=row.id).select_related("run").first()
    if attempt is None:
        return False
    runs.requeue(attempt.run_id, was=Status.WAITING_APPROVAL)  # not parked yet: the sweeper finds it decided
    return True
