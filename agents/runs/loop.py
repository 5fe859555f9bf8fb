"""The agent loop in one process: call the model, run the tools that it requests, send it the results, until it answers.

service.py explains the limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.conf import settings

from agents.calls import service as calls
from agents.calls.service import CallContext
from agents.definitions.definition import Definition
from agents.events import Event, ReasoningDelta, Settled, Started, Stopped, TextDelta, ToolCall
from agents.messages import CompletionRequest, Message, ToolUse
from agents.models import AgentRun, AgentStep
from agents.runs import approvals, tool_calls
from agents.runs import parked as run_state
from agents.runs import running as running_runs
from agents.runs import store as run_store
from agents.runs.parked import Parked
from agents.runs.record import RunRecord, Status, Step
from agents.runs.running import OutOfTime
from agents.runs.store import Closing, RunEnded
from agents.runs.tool_calls import Wanted, Workshop
from agents.runs.transcript import Answer
from agents.tools.registry import Tool
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError, BudgetExceeded, Unavailable
from aiagents.core.live import news
from aiagents.core.live.cancellation import Cause, cause_of
from aiagents.core.live.liveness import persist

logger = logging.getLogger(__name__)


class RunPaused(Exception):
    """The run waits for a decision and no process works on it; `approvals.decide` resumes it."""

    def __init__(self, run_id: UUID) -> None:
        self.run_id = run_id
        super().__init__(str(run_id))


class Loop(RunRecord):
    """One run in this process."""

    def __init__(
        self, row: AgentRun, definition: Definition, request: CompletionRequest, context: CallContext, tools: dict[str, Tool],
        receipts: list[Settled], *, pause: bool,
    ) -> None:  # fmt: skip
        super().__init__(row, context, receipts)
        self.definition, self.request, self.tools, self.pause = definition, request, tools, pause
        self.asks = frozenset(grant.name for grant in definition.tools if grant.ask)
        self.wanted: list[Wanted] = []
        self.resumed = False
        self.seconds = 0.0

    def go_on(self, parked: Parked) -> None:
        self.resumed = True
        self.model_calls, self.number, self.seconds, self.model = parked.model_calls, parked.number, parked.seconds, parked.model

    # --- the whole run --------------------------------------------------------------------------

    async def events(self) -> AsyncGenerator[Event, None]:
        self.watched = running_runs.begin(self.id, self.definition.max_seconds, self.seconds)
        if self.context.message_id is None:  # else the message keeps the text
            self.watched.text = lambda: self.answer.all_text or self.output
        self.workshop = Workshop(self.id, self.context.principal, self.watched)
        try:
            async with aclosing(self._steps()) as steps:
                async for event in steps:
                    yield event
        except RunPaused:
            raise
        except OutOfTime:
            await self._end(Status.SUCCEEDED, finish_reason="max_seconds")
            yield Stopped("max_seconds")
        except RunEnded:
            await self._end(Status.CANCELLED)  # it has already ended; add what is missing in its row
            raise
        except AppError as exc:
            await self._end(Status.FAILED, error=exc)
            raise
        except (asyncio.CancelledError, GeneratorExit) as exc:
            cut = cause_of(exc) is Cause.INTERRUPTED
            error = Unavailable("The process that ran this was shut down.", code="interrupted") if cut else None
            await self._end(Status.INTERRUPTED if cut else Status.CANCELLED, error=error)
            raise
        except BaseException:
            await self._end(Status.FAILED, error=AppError())
            raise
        finally:
            running_runs.leave(self.id)

    async def _steps(self) -> AsyncGenerator[Event, None]:
        if self.resumed:
            async with aclosing(self._resumed_tools()) as events:
                async for event in events:
                    yield event
        while True:
            if (limit := self._limit()) is not None:
                await self._succeed(limit)
                yield Stopped(limit)
                return
            if self.step is None:
                self.step = self._new_step()
                await self._write(opened=[self.step], status=Status.RUNNING)
            try:
                async with aclosing(self._ask_model()) as events:
                    async for event in events:
                        yield event
            except BudgetExceeded as exc:
                if exc.code != "max_cost_exceeded" or self.model_calls == 1:
                    raise
                self.model_calls -= 1
                await self._succeed("max_cost", closed=[self._closing(Step.CANCELLED, error_code="max_cost")])
                yield Stopped("max_cost")
                return
            if not self.wanted:
                return
            async with aclosing(self._run_tools()) as results:
                async for result in results:
                    yield result

    def _limit(self) -> Any:
        """Return the limit that forbids another model call, or None."""
        if self.watched.left <= 0:
            return "max_seconds"
        left = self._money_left()
        return "max_cost" if left is not None and left <= 0 and self.model_calls else None

    # --- a model call ---------------------------------------------------------------------------

    async def _ask_model(self) -> AsyncGenerator[Event, None]:
        """One model call with its step. It ends the run unless `wanted` then holds tool calls."""
        self.model_calls += 1
        last = self.model_calls >= self.definition.max_steps
        offered = bool(self.request.tools)
        request = replace(self.request, tool_choice="none") if last and offered else self.request
        parted = bool(self.output)
        uses: list[ToolUse] = []
        self.answer, self.since = Answer(), len(self.receipts)
        async with aclosing(calls.stream(request, self._call_context(), self.receipts)) as events:
            while (event := await self.watched.within(anext(events, None))) is not None:
                match event:
                    case Started():
                        self.answer.provider, self.model = event.provider, event.model
                        yield event
                    case TextDelta() if event.text:
                        if parted:  # the texts of two steps are two paragraphs
                            parted = False
                            yield TextDelta("\n\n")
                        self.answer.text(event.text)
                        yield event
                    case ReasoningDelta():
                        self.answer.reasoning(event)
                        yield event
                    case ToolCall():
                        if not last and len(uses) < settings.AGENT_CALLS_PER_STEP:
                            uses.append(self.answer.call(event))
                    case Settled():
                        async with aclosing(self._settled(event, uses, last and offered and self.model_calls > 1)) as results:
                            async for one in results:
                                yield one
                    case _:
                        yield event

    async def _settled(self, settled: Settled, uses: list[ToolUse], last: bool) -> AsyncGenerator[Event, None]:
        self.output = self.answer.all_text or self.output
        if not uses:
            reason: Any = "max_steps" if last and settled.finish_reason in ("stop", "tool_calls") else settled.finish_reason
            self.wanted, self.finish_reason = [], reason
            await self._succeed(reason, closed=[self._closing(Step.OK)])
            yield replace(settled, finish_reason=reason)
            return
        parts = self.answer.parts()
        self.request = replace(self.request, messages=(*self.request.messages, Message("assistant", parts)))
        self.wanted = []
        for use in uses:
            self.number += 1
            step = tool_calls.new_step(self.id, self.number, use)
            self.wanted.append(self._judged(use, step))
        for call in self.wanted:
            call.step.status = Step.WAITING if call.asks else Step.RUNNING
            if call.refusal:
                tool_calls.refuse(call)
        await self._write(closed=[self._closing(Step.OK)], opened=[call.step for call in self.wanted], **self._totals())
        self.step = None
        yield settled
        for call in self.wanted:
            use = call.use
            yield ToolCall(use.call_id, use.name, use.arguments, needs_approval=call.asks, run_id=str(self.id) if call.asks else "")

    def _judged(self, use: ToolUse, step: AgentStep) -> Wanted:
        return tool_calls.wanted(use, step, self.tools, self.asks, shared=self.definition.shared)

    def _call_context(self) -> CallContext:
        """Return the context of the next call: the remaining budget and, as first choice, the model that answered so far.

        The history has that model's reasoning, which only it can read.
        """
        context = replace(self.context, max_cost_usd=self._money_left())
        if not self.model:
            return context
        others = [slug for slug in (context.requested_model, *context.fallbacks) if slug != self.model]
        # What the last step wrote into the cache, the next one reads.
        usage = self.receipts[-1].usage if self.receipts else None
        cached = usage.cached_input_tokens + usage.cache_write_tokens if usage else 0
        return replace(context, requested_model=self.model, fallbacks=tuple(others), sticky=self.model, cached_tokens=cached)

    # --- tool calls -----------------------------------------------------------------------------

    async def _run_tools(self) -> AsyncGenerator[Event, None]:
        """Run all calls of the step: first those that need no approval, then the others once they are decided."""
        for call in self.wanted:
            if call.refusal:
                yield tool_calls.refuse(call)
        free = [call for call in self.wanted if not call.refusal and not call.asks]
        async with aclosing(self.workshop.run(free)) as results:
            async for result in results:
                yield result
        asked = [call for call in self.wanted if call.asks]
        if asked:
            await self._wait()
            async with aclosing(self._run_decided(asked)) as decided:
                async for event in decided:
                    yield event
        self._add_results()

    async def _run_decided(self, asked: list[Wanted]) -> AsyncGenerator[Event, None]:
        rows = await persist(tool_calls.steps, [call.step.id for call in asked])
        approved = []
        for call in asked:
            if (result := tool_calls.recall(call, rows[call.step.id])) is None:
                approved.append(call)
            else:
                yield result
        ours = await persist(run_store.start_tools, self.id, [call.step.id for call in approved])
        async with aclosing(self.workshop.run([call for call in approved if call.step.id in ours])) as results:
            async for result in results:
                yield result

    async def _resumed_tools(self) -> AsyncGenerator[Event, None]:
        """Continue the step in which the run was parked: read its calls from their rows, and run those approved meanwhile."""
        uses = [part for part in self.request.messages[-1].parts if isinstance(part, ToolUse)]
        steps = await persist(tool_calls.last_steps, self.id, self.number, len(uses))
        self.wanted = [self._judged(use, step) for use, step in zip(uses, steps, strict=True)]
        asked = []
        for call in self.wanted:
            call.asks = call.step.status in (Step.WAITING, Step.DENIED)
            if call.asks and call.step.status == Step.WAITING and call.tool is None:
                call.refusal = call.refusal or "This tool is not available any more."
                await self._write(closed=[Closing(call.step.id, Step.WAITING, tool_calls.refused(call.refusal))])
                yield tool_calls.refuse(call)
            elif call.asks:
                asked.append(call)
            else:
                tool_calls.recall(call, call.step)
        async with aclosing(self._run_decided(asked)) as results:
            async for result in results:
                yield result
        self._add_results()

    def _add_results(self) -> None:
        outputs = tuple(call.result for call in self.wanted if call.result is not None)
        self.request = replace(self.request, messages=(*self.request.messages, Message("tool", outputs)))
        self.wanted = []

    async def _wait(self) -> None:
        """Wait until all calls are decided: park the run for another process, or wait here."""
        self.watched.stop_clock()
        if self.pause:
            if await in_db(run_store.park, self.id, self._parked().to_json(), output=self.output, model=self.model, **self._totals()):
                self._news(news.Kind.APPROVAL_WANTED)
                raise RunPaused(self.id)
        else:
            await self._write(status=Status.WAITING_APPROVAL)
            self._news(news.Kind.APPROVAL_WANTED)
            loop = asyncio.get_running_loop()
            until = loop.time() + settings.AGENT_APPROVAL_SECONDS
            while await self.watched.within(persist(run_store.waiting, self.id), timed=False):
                if (left := until - loop.time()) <= 0:
                    await persist(approvals.deny_late, self.id)
                    break
                await self.watched.within(approvals.announced(self.id, left), timed=False)
        self.watched.start_clock()

    def _parked(self) -> Parked:
        return Parked(
            self.definition, self.request, run_state.context_out(self.context), self.model_calls, self.number, self.watched.used, self.model
        )
