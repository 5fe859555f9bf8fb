"""A run as clients see it: the same JSON in the answer of `run`, in its last event and in lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from agents.models import AgentRun, AgentStep
from agents.runs import store as run_store
from agents.tools import registry
from aiagents.core.jsonio import money

JSON = dict[str, Any]


def run(row: AgentRun) -> JSON:
    """Return the run without its steps."""
    return {
        "id": str(row.id),
        "agent_id": _id(row.agent_id),
        "agent": row.agent.slug if row.agent else None,
        "version": row.version.number if row.version else None,
        "status": row.status,
        "input": row.input,
        "output": row.output,
        "finish_reason": row.finish_reason,
        "error": row.error,
        "model": row.model,
        "steps_done": row.steps_done,
        "usage": {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens},
        "cost_usd": money(row.cost_usd),
        "simulated": row.simulated,
        "surface": row.surface,
        "conversation_id": _id(row.conversation_id),
        "message_id": _id(row.message_id),
        "task_id": _id(row.task_id),
        "request_id": row.request_id,
        "created_at": _time(row.created_at),
        "ended_at": _time(row.ended_at),
    }


def with_steps(row: AgentRun, steps: Iterable[AgentStep]) -> JSON:
    """Return the run with its steps in order."""
    every = list(steps)
    waiting = [one.tool_call_id for one in every if one.status == AgentStep.Status.WAITING and one.decided_at is None]
    return {**run(row), "waits_for": waiting, "steps": [step(one) for one in every], "steps_next": None}


def whole(run_id: UUID) -> tuple[AgentRun, JSON] | None:
    """Return the row and its JSON with every step, from the database."""
    row = run_store.to_show(run_id)
    return None if row is None else (row, with_steps(row, run_store.steps(run_id)))


def step(row: AgentStep) -> JSON:
    is_tool = row.kind == AgentStep.Kind.TOOL
    asked = row.input if isinstance(row.input, dict) else {}
    decision = None if row.decided_at is None else "rejected" if row.status == AgentStep.Status.DENIED else "approved"
    return {
        "number": row.number,
        "kind": row.kind,
        "status": row.status,
        "name": row.name,
        "call_id": row.tool_call_id or _id(row.call_id),
        "arguments": asked.get("arguments") if is_tool else None,
        "output": registry.for_display(row.output) if is_tool else row.output,
        "finish_reason": None if is_tool else asked.get("finish_reason"),
        "error_code": row.error_code,
        "usage": {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens},
        "cost_usd": money(row.cost_usd),
        "latency_ms": row.latency_ms,
        "decision": decision,
        "reason": asked.get("reason"),
        "decided_at": _time(row.decided_at),
        "created_at": _time(row.created_at),
        "ended_at": _time(row.ended_at),
    }


def _id(value: Any) -> str | None:
    return str(value) if value else None


def _time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None
