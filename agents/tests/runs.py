"""What the tests of agent runs share: definitions, tools that tell what they did, and what must hold afterwards."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from agents.definitions.definition import Definition, Grant, bare
from agents.events import TextDelta, ToolCall, ToolResult
from agents.models import AgentRun, AgentStep
from agents.runs import service as runner
from agents.tools.base import Tool, ToolContext
from agents.tools.declaring import BUILTINS
from billing.models import UsageLog

SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "additionalProperties": False}


class Probe:
    """A tool that counts its calls, and may take its time or fail."""

    def __init__(
        self, name: str = "probe", *, ask: bool = False, repeatable: bool = True, seconds: float = 0.0, fails: bool = False
    ) -> None:
        self.calls: list[str] = []
        self.running = self.most = 0
        self.seconds, self.fails = seconds, fails
        self.tool = Tool(name, f"probe {name}", SCHEMA, ask, repeatable, self._run)

    async def _run(self, arguments: dict[str, Any], context: ToolContext) -> str:
        self.calls.append(arguments.get("word", ""))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)  # a slow tool
        finally:
            self.running -= 1
        if self.fails:
            raise RuntimeError("a secret of the tool's")
        return f"probed {arguments.get('word', '')}"

    def __enter__(self) -> Probe:
        BUILTINS[self.tool.name] = self.tool
        return self

    def __exit__(self, *_: object) -> None:
        BUILTINS.pop(self.tool.name, None)


def agent(*tools: str, ask: tuple[str, ...] = (), **changes: Any) -> Definition:
    changes.setdefault("max_steps", 6)
    changes.setdefault("model", "gpt-4o-mini")
    return bare(tools=[Grant(name, name in ask) for name in tools], **changes)


async def drain(request, context, definition, receipts=None, **options) -> list:
    async with aclosing(runner.stream(request, context, receipts, definition=definition, **options)) as events:
        return [event async for event in events]


def text_of(events) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls_of(events) -> list[ToolCall]:
    return [event for event in events if isinstance(event, ToolCall)]


def results_of(events) -> list[ToolResult]:
    return [event for event in events if isinstance(event, ToolResult)]


def the_run() -> AgentRun:
    return AgentRun.objects.get()


def steps_of(run: AgentRun) -> list[AgentStep]:
    return list(AgentStep.objects.filter(run=run).order_by("number"))


def adds_up() -> None:
    """Every run's totals are the sums of its steps and of the books; nothing in an ended run is open."""
    for run in AgentRun.objects.all():
        steps, rows = steps_of(run), list(UsageLog.objects.filter(group_id=run.id))
        booked = sum((row.cost_usd for row in rows), Decimal(0))
        assert run.cost_usd == sum((step.cost_usd for step in steps), Decimal(0)) == booked, (run.cost_usd, booked)
        assert run.output_tokens == sum(step.output_tokens for step in steps) == sum(row.output_tokens for row in rows)
        assert run.input_tokens == sum(step.input_tokens for step in steps) == sum(row.input_tokens for row in rows)
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
        if run.status not in AgentRun.OPEN:
            assert run.ended_at and not [step for step in steps if step.status in ("running", "waiting")]
            assert run.state == {}


API = "/api/v1/agents/"
