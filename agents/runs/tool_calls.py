"""The tool calls of one step: which need approval, which may run, and their results."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from accounts.authentication import Principal
from agents.events import ToolResult
from agents.messages import ToolOutput, ToolUse
from agents.models import AgentRun, AgentStep
from agents.runs import store as run_store
from agents.runs.approvals import DENIED_BY_TIME
from agents.runs.running import Watched
from agents.runs.store import OUTCOME_UNKNOWN, Closing
from agents.tools import registry
from agents.tools.registry import Tool, ToolContext
from aiagents.core import jsonio
from aiagents.core.jsonio import clean_text
from aiagents.core.live.liveness import persist

logger = logging.getLogger(__name__)
Step = AgentStep.Status
_MOST_NAME = 100
_BY_TIME = "Denied: this call was not approved in time."
_BY_PERSON = "Denied: a person did not allow this call."
_UNKNOWN = "It is not known whether this call was carried out: its process died. It was not repeated."


@dataclass(slots=True)
class Wanted:
    """One call that the model requested. `refusal`: why it gets an answer without being run."""

    use: ToolUse
    step: AgentStep
    tool: Tool | None
    asks: bool
    refusal: str = ""
    result: ToolOutput | None = None


def wanted(use: ToolUse, step: AgentStep, tools: Mapping[str, Tool], asks: frozenset[str], *, shared: bool) -> Wanted:
    """Judge the call by the agent's rules alone. `shared`: the agent belongs to another user."""
    tool = tools.get(use.name)
    if tool is None:
        known = ", ".join(sorted(tools)) or "none"
        return Wanted(use, step, None, False, f"There is no tool {use.name[:_MOST_NAME]!r} here. Tools: {known}.")
    if why := _wrong(tool, use.arguments):  # no approval is needed for a call that cannot be made
        return Wanted(use, step, tool, False, why)
    return Wanted(use, step, tool, use.name in asks or tool.needs_approval or (shared and tool.reaches_out))


def new_step(run_id: UUID, number: int, use: ToolUse) -> AgentStep:
    return AgentStep(
        run_id=run_id, number=number, kind=AgentStep.Kind.TOOL, name=clean_text(use.name)[:_MOST_NAME],
        tool_call_id=clean_text(use.call_id)[:200], input={"arguments": clean_text(use.arguments)},
    )  # fmt: skip


def _wrong(tool: Tool, arguments: str) -> str:
    try:
        found = jsonio.exact(arguments) if arguments.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return "The arguments are not a JSON object. Call the tool again with valid JSON."
    wrong = registry.wrong_with(tool.parameters, found)
    return f"The arguments do not fit the tool's schema: {wrong}" if wrong else ""


def refuse(call: Wanted) -> ToolResult:
    """Return the result of a call that is not run. Its step, which is not stored yet, has the same text."""
    step = call.step
    step.status, step.error_code, step.output = Step.ERROR, "invalid_call", call.refusal
    step.ended_at = timezone.now()
    return _settle(call, call.refusal, "error", 0)


def recall(call: Wanted, row: AgentStep) -> ToolResult | None:
    """Return the result in the call's row, or None if it is approved and has not run yet."""
    call.step = row
    match row.status:
        case Step.WAITING:
            return None
        case Step.DENIED:
            reason = row.input.get("reason") if isinstance(row.input, dict) else ""
            why = _BY_TIME if row.error_code == DENIED_BY_TIME else f"{_BY_PERSON} They said: {reason}" if reason else _BY_PERSON
            return _settle(call, why, "denied", 0)
        case Step.OK:
            return _settle(call, row.output, "ok", row.latency_ms)
        case Step.ERROR if row.error_code != OUTCOME_UNKNOWN:
            return _settle(call, row.output, "error", row.latency_ms)
    return _settle(call, _UNKNOWN, "error", 0)


class Workshop:
    """Runs the calls of a run, a few at once."""

    def __init__(self, run_id: UUID, principal: Principal, watched: Watched) -> None:
        self._run_id, self._principal, self._watched = run_id, principal, watched
        self._places = asyncio.Semaphore(settings.AGENT_TOOLS_AT_ONCE)

    async def run(self, calls: Sequence[Wanted]) -> AsyncGenerator[ToolResult, None]:
        """Yield the results as they come. The calls are marked as running already, so a cancellation leaves their results unknown."""
        pending = {asyncio.create_task(self._one(call)) for call in calls}
        try:
            while pending:
                done, pending = await self._watched.within(asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED))
                for task in done:
                    yield task.result()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _one(self, call: Wanted) -> ToolResult:
        assert call.tool is not None
        async with self._places:
            began = time.monotonic()
            context = ToolContext(self._principal, self._run_id, self._principal.user.time_zone, self._watched.left)
            try:
                output, status = await registry.call(call.tool, call.use.arguments, context)
            except Exception:
                logger.exception("tool_failed", extra={"run_id": str(self._run_id), "tool": call.use.name})
                output, status = "The tool failed on our side.", "error"
            latency = round((time.monotonic() - began) * 1000)
        output = clean_text(output)
        values: dict[str, Any] = {"status": status, "output": output, "latency_ms": latency, "ended_at": timezone.now()}
        if status == "error":
            values["error_code"] = "tool_error"
        await persist(run_store.write, self._run_id, closed=[Closing(call.step.id, Step.RUNNING, values)], status=AgentRun.Status.RUNNING)
        return _settle(call, output, status, latency)


def _settle(call: Wanted, output: str, status: Any, latency: int) -> ToolResult:
    call.result = ToolOutput(call.use.call_id, call.use.name, output, is_error=status != "ok")
    return ToolResult(call.use.call_id, call.use.name, registry.for_display(output), status, latency)


# --- database functions --------------------------------------------------------------------------


def refused(why: str) -> dict[str, Any]:
    """Return the values for the step of a refused call."""
    return {"status": Step.ERROR, "error_code": "invalid_call", "output": why, "ended_at": timezone.now()}


def steps(step_ids: list[UUID]) -> dict[UUID, AgentStep]:
    return AgentStep.objects.in_bulk(step_ids)


def last_steps(run_id: UUID, number: int, count: int) -> list[AgentStep]:
    """Return the `count` steps up to this number, in order."""
    return list(AgentStep.objects.filter(run_id=run_id, number__gt=number - count, number__lte=number).order_by("number"))
