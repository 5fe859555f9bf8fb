"""The steps of one or several runs, as many as fit in one answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from agents.models import AgentStep
from aiagents.core.drf import page_bytes
from aiagents.core.errors import InvalidRequest

PARAMETER = "steps_after"
_POSITION = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,6}))?")


@dataclass(frozen=True, slots=True)
class StepPage:
    """Steps in order. `next`: the position after which the others follow, (index of the run, number); None at the end."""

    steps: list[AgentStep]
    next: tuple[int, int] | None

    def of(self, run_id: UUID) -> list[AgentStep]:
        return [step for step in self.steps if step.run_id == run_id]


def read(run_ids: Sequence[UUID], after: tuple[int, int] = (0, 0)) -> StepPage:
    """Return the steps after this position whose texts fit in `page_bytes.MOST_BYTES` together, at least one."""
    index = {run_id: at for at, run_id in enumerate(run_ids)}
    measured = AgentStep.objects.filter(run_id__in=run_ids).values_list("run_id", "number", "pk", page_bytes.size(["input", "output"]))
    waiting = sorted((index[run_id], number, pk, size) for run_id, number, pk, size in measured if (index[run_id], number) > after)
    count = page_bytes.fitting((size for *_, size in waiting), page_bytes.MOST_BYTES)
    rows = AgentStep.objects.in_bulk([pk for _, _, pk, _ in waiting[:count]])
    steps = [rows[pk] for _, _, pk, _ in waiting[:count] if pk in rows]
    return StepPage(steps, waiting[count - 1][:2] if count < len(waiting) else None)


def waits_for(run_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Return for each run the model's ids of the tool calls that wait for a decision, in order."""
    waiting = AgentStep.objects.filter(run_id__in=run_ids, status=AgentStep.Status.WAITING, decided_at=None)
    found: dict[UUID, list[str]] = {run_id: [] for run_id in run_ids}
    for run_id, call_id in waiting.order_by("number").values_list("run_id", "tool_call_id"):
        found[run_id].append(call_id)
    return found


def position(text: str | None) -> tuple[int, int]:
    """Read `steps_after` of a query: `number` of a step, or `attempt.number`; (0, 0) without one. Raises InvalidRequest."""
    if not text:
        return 0, 0
    found = _POSITION.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"{PARAMETER} must come from `steps_next` of an answer.", param=PARAMETER)
    first, second = found.groups()
    return (0, int(first)) if second is None else (int(first), int(second))
