"""What a run has done so far in this process, and how its steps, its sums and its end are written."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.utils import timezone

from agents.calls.service import CallContext
from agents.events import Settled
from agents.models import AgentRun, AgentStep
from agents.runs import ends
from agents.runs import store as run_store
from agents.runs.store import Closing
from agents.runs.transcript import Answer
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError
from aiagents.core.live import news
from aiagents.core.live.liveness import persist
from aiagents.core.stored_errors import to_store

Status, Step = AgentRun.Status, AgentStep.Status


class RunRecord:
    """The output, steps and receipts of one run. `step` is its model call that runs; `number` that of its last step."""

    def __init__(self, row: AgentRun, context: CallContext, receipts: list[Settled]) -> None:
        self.id, self.row, self.context, self.receipts = row.id, row, context, receipts
        # The row has the receipts of earlier processes. Those before `mine` belong to other runs, those before `since` to earlier steps.
        self.mine = self.since = len(receipts)
        self.before = {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens, "cost_usd": row.cost_usd}
        self.step: AgentStep | None = None
        self.number = self.model_calls = 0
        self.model, self.output, self.finish_reason = "", row.output, ""
        self.answer = Answer()

    def _new_step(self) -> AgentStep:
        self.number += 1
        return AgentStep(run_id=self.id, number=self.number, kind=AgentStep.Kind.MODEL, name=self.model)

    def _closing(self, status: str, error_code: str = "") -> Closing:
        """Return the values that end the step of the running model call."""
        assert self.step is not None
        mine = self.receipts[self.since :] if self.model_calls else []
        values: dict[str, Any] = {
            "status": status,
            "error_code": error_code[:50],
            "output": self.answer.all_text,
            "ended_at": timezone.now(),
        }
        if mine:
            values |= run_store.totals(mine) | {"call_id": mine[-1].call_id, "name": mine[-1].model, "latency_ms": mine[-1].latency_ms}
            values["input"] = {"finish_reason": mine[-1].finish_reason}
        return Closing(self.step.id, Step.RUNNING, values)

    def _totals(self) -> dict[str, Any]:
        mine = self.receipts[self.mine :]
        now = run_store.totals(mine)
        simulated = {"simulated": True} if any(receipt.simulated for receipt in mine) else {}
        return {name: self.before[name] + now[name] for name in now} | {"steps_done": self.model_calls} | simulated

    def _money_left(self) -> Decimal | None:
        limit = self.context.max_cost_usd
        return None if limit is None else limit - self._totals()["cost_usd"]

    async def _write(self, *, closed: Sequence[Closing] = (), opened: Sequence[AgentStep] = (), **run: Any) -> None:
        await persist(run_store.write, self.id, closed=closed, opened=opened, **run)
        self._news(news.Kind.RUN_CHANGED)

    def _news(self, kind: news.Kind) -> None:
        news.send_now(self.context.principal.user_id, kind, self.id)

    async def _succeed(self, finish_reason: str, *, closed: Sequence[Closing] = ()) -> None:
        """End the run. Raises `RunEnded` if it has already ended otherwise."""
        values = {"finish_reason": finish_reason, "output": self.output, "model": self.model, **self._totals()}
        self.step = None
        if not await persist(run_store.end, self.id, Status.SUCCEEDED, closed=closed, **values):
            status = await persist(run_store.status, self.id)
            if status != Status.SUCCEEDED:  # else this process ended it, and the database's reply was lost
                raise await in_db(run_store.gone, self.id)

    async def _end(self, status: str, *, error: AppError | None = None, finish_reason: str = "") -> None:
        """End the run after an error or a cancellation. The write continues if the caller is cancelled."""
        self.output = self.answer.all_text or self.output
        closed = []
        if self.step is not None:
            code = error.code if error else finish_reason or "cancelled"
            closed.append(self._closing(Step.ERROR if status == Status.FAILED else Step.CANCELLED, code))
        values = {"output": self.output, "model": self.model, **self._totals()}
        values["finish_reason"] = finish_reason or ("cancelled" if status == Status.CANCELLED else "error")
        if error is not None:
            values["error"] = to_store(error, self.context.request_id)
        await ends.write(self.id, status, closed, values)
