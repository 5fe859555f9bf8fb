"""A turn: one answer that is being written, in a task of its own, with any number of viewers.

Its broadcast is the one buffer; the row in the database follows it every second (running.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from uuid import UUID

from accounts.authentication import Principal
from agents import events
from agents.calls.service import CallContext
from agents.events import Rewound, Settled
from agents.messages import CompletionRequest
from agents.runs.service import RunCancelled
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError, Unavailable
from aiagents.core.live import cancellation, liveness
from aiagents.core.live.broadcast import Broadcast, Writer
from aiagents.core.live.cancellation import Cause
from aiagents.core.live.event_log import Line
from aiagents.core.metrics import counters as metrics
from chat.conversations import as_json as message_json
from chat.conversations import history
from chat.models import Message
from chat.turns import agent_partner, costs
from chat.turns import store as turn_store
from chat.turns.store import Opened, Written
from chat.turns.transcript import Transcript

logger = logging.getLogger(__name__)
Status = Message.Status
# The source of events: `agents.calls.service.stream` or an agent's runner. It adds each settled call to the list.
Source = Callable[[CompletionRequest, CallContext, list[Settled]], AsyncGenerator[events.Event, None]]
# Seconds that a cancelled turn waits for the receipt of its call.
_RECEIPT_WAITS = 3.0


class Turn:
    """See the module."""

    def __init__(
        self, opened: Opened, principal: Principal, *, surface: str, request_id: str, source: Source,
        writer: Writer,
    ) -> None:  # fmt: skip
        self.opened, self.principal, self.surface, self.request_id = opened, principal, surface, request_id
        self.message = opened.answer
        self.message_id: UUID = opened.answer.id
        self.conversation_id: UUID = opened.answer.conversation_id
        self.user_id: UUID = principal.user_id
        self.broadcast = Broadcast(self.message_id, writer)
        self.transcript = Transcript(opened, self.broadcast)
        self.view = self.broadcast.view
        # How far the row has followed: the seq, and when.
        self.saved, self.saved_at = -1, 0.0
        # The end could not be written yet: the database is away.
        self.unstored = False
        self.task: asyncio.Task[None] | None = None
        self._source = source
        self._begun = self._ending = False
        self._cause: Cause | None = None

    @property
    def ended(self) -> bool:
        return self.broadcast.ended

    @property
    def lines(self) -> list[Line]:
        return self.broadcast.lines

    @property
    def logged(self) -> int:
        """Return how many of the lines are in the event log."""
        return self.broadcast.logged

    def so_far(self) -> Rewound:
        """Return the message of the running turn so far."""
        return self.transcript.so_far(self.broadcast.last)

    async def finished(self) -> dict[str, Any]:
        """Return the assistant message as `send` answers it, once the turn has ended."""
        await self.broadcast.wait()
        return message_json.answer(self.message)

    def cancel(self, cause: Cause = Cause.CANCELLED) -> None:
        """Stop writing. A turn that ends by itself first stays as it ended."""
        if self._ending or self._cause:
            return
        self._cause = cause
        if self._begun and self.task is not None:  # a task cancelled before its first step would never run at all
            cancellation.cancel(self.task, cause)

    def written(self) -> Written:
        """Return what the row should have by now."""
        return Written(self.message_id, self.transcript.text, self.transcript.reasoning, self.broadcast.last, self.transcript.started)

    # --- the run --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write the answer. Its end is sent and stored, whatever happens."""
        status: str = Status.COMPLETE
        error: AppError | None = None
        self._begun = True
        try:
            if self._cause:
                raise asyncio.CancelledError(self._cause)
            await self._follow()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            if self._cause is Cause.CANCELLED:
                status = Status.CANCELLED
            else:  # a shutdown, ours or the loop's
                status = Status.INTERRUPTED
                error = Unavailable("The server was shut down while it wrote; the text is kept.", code="interrupted")
        except RunCancelled:  # the agent's run was cancelled over the API of runs
            status = Status.CANCELLED
        except AppError as exc:
            # An answer that broke off after its first words is interrupted; the vendor's or our own refusal is a failure.
            status, error = (Status.INTERRUPTED if exc.retryable and self.transcript.text else Status.FAILED), exc
        except Exception:
            logger.exception("turn_failed", extra={"message_id": str(self.message_id)})
            status, error = Status.FAILED, AppError()
        self._ending = True
        await self._end(status, error)

    async def _follow(self) -> None:
        opened, request, transcript = self.opened, self.opened.request, self.transcript
        reserved, share = await agent_partner.reserve(opened.agent) if opened.agent else (0, 1.0)
        fitted = await history.fit(request, opened.branch, opened.carried, reserved, share, opened.unread)
        transcript.history = fitted.explained()
        context = CallContext(
            principal=self.principal, purpose="chat", surface=self.surface, request_id=self.request_id, group_id=self.message_id,
            requested_model=request.model or "auto", goal=request.goal or "", fallbacks=request.fallbacks,
            max_cost_usd=request.max_cost_usd,
            **history.last_answer(opened.branch), conversation_id=self.conversation_id, message_id=self.message_id,
        )  # fmt: skip
        async with aclosing(self._source(fitted.request, context, transcript.receipts)) as source:
            async for event in source:
                transcript.take(event)
                if transcript.full:
                    return

    # --- the end --------------------------------------------------------------------------------

    async def _end(self, status: str, error: AppError | None) -> None:
        self.transcript.start(None)
        if status in (Status.CANCELLED, Status.INTERRUPTED):
            await self._await_receipts()
        self.message = await self._store(self.transcript.ended(self.message, status, error, self.request_id))
        if self.message.status == Status.INTERRUPTED:
            metrics.INTERRUPTED.inc()
        self.broadcast.end(*message_json.ending(self.message))

    async def _await_receipts(self) -> None:
        """Wait for the settlement of a call that was cut while it was settled: the usage log then has its cost."""
        missing = self.transcript.calls - {receipt.call_id for receipt in self.transcript.receipts}
        deadline = asyncio.get_running_loop().time() + _RECEIPT_WAITS
        try:
            while missing and asyncio.get_running_loop().time() < deadline:
                missing -= await in_db(costs.settled_calls, self.message_id)
                if missing:
                    await asyncio.sleep(0.05)
        except Unavailable:
            return

    async def _store(self, answer: Message) -> Message:
        """Write the end. While the database is away, viewers get it all the same, and it is written later."""
        try:
            return await in_db(turn_store.finish, answer, from_usage_log=answer.status != Status.COMPLETE)
        except Unavailable:
            self.unstored = True
        except Exception:  # the sweeper finds the row and has the log
            logger.exception("turn_not_stored", extra={"message_id": str(self.message_id)})
        return answer

    async def store_at_last(self) -> None:
        """Keep trying to write an end that could not be written."""
        if self.unstored:
            await liveness.persist_at_last(turn_store.finish, self.message, from_usage_log=self.message.status != Status.COMPLETE)
            self.unstored = False
