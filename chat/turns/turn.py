"""A turn: one answer being written, in a task of its own, with any number of viewers.

Nobody's leaving ends it. Its lines are the one buffer: viewers read them at their own pace, the log in Valkey and the
row in the database follow in batches (registry.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.authentication import Principal
from agents import events
from agents.calls.service import CallContext
from agents.events import Rewound, Settled
from agents.messages import CompletionRequest
from agents.runs.service import RunCancelled
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError, Unavailable
from aiagents.core.metrics import counters as metrics
from chat.conversations import as_json as message_json
from chat.conversations import history
from chat.models import Message
from chat.turns import agent_partner, replay
from chat.turns import store as turn_store
from chat.turns.event_log import TurnLine
from chat.turns.store import Opened, Written
from chat.turns.transcript import Telling

logger = logging.getLogger(__name__)
Status = Message.Status
# What runs: `agents.calls.service.stream`, or an agent's runner. Yields events, puts every settled call into the list.
Source = Callable[[CompletionRequest, CallContext, list[Settled]], AsyncGenerator[events.Event, None]]
# Seconds that a cancelled turn waits for the receipt of the call it cut off, and between two tries to store an end.
_RECEIPT_WAITS = 3.0
_STORE_EVERY = 0.5


class Leave:
    """A viewer's way out: `now()` ends its view, whatever it waits for."""

    __slots__ = ("gone", "waiter")

    def __init__(self) -> None:
        self.gone = False
        self.waiter: asyncio.Future[None] | None = None

    def now(self) -> None:
        self.gone = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


def _wake(waiters: list[asyncio.Future[None]]) -> list[asyncio.Future[None]]:
    """Wake them; the empty list of those that still wait."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    return []


class Turn:
    """See the module. `on_news` is called with every new line, `on_end` once when all is sent and stored.

    `on_ahead` asks for the log to be written at once and returns whether it can be.
    """

    def __init__(
        self, opened: Opened, principal: Principal, *, surface: str, request_id: str, source: Source,
        on_news: Callable[[Turn], None], on_end: Callable[[Turn], None], on_ahead: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.opened, self.principal, self.surface, self.request_id = opened, principal, surface, request_id
        self.message = opened.answer
        self.message_id: UUID = opened.answer.id
        self.conversation_id: UUID = opened.answer.conversation_id
        self.user_id: UUID = principal.user_id
        self.told = Telling(opened, self._heard)
        self.lines = self.told.lines
        self.ended = False
        # How far the log in Valkey and the row have followed (count of lines; seq; when).
        self.logged, self.saved, self.saved_at = 0, -1, 0.0
        # The end could not be written yet: the database is away.
        self.unstored = False
        self.task: asyncio.Task[None] | None = None
        self._source, self._on_news, self._on_end, self._on_ahead = source, on_news, on_end, on_ahead
        self._waiters: list[asyncio.Future[None]] = []
        # Viewers that wait for the log, and whether it has kept one waiting in vain since it was last written.
        self._held: list[asyncio.Future[None]] = []
        self._log_stalls = False
        self._begun = self._ending = False
        self._why = ""

    # --- for viewers ----------------------------------------------------------------------------

    async def view(self, after: int = -1, leave: Leave | None = None) -> AsyncGenerator[TurnLine, None]:
        """The events after seq `after`, at once when they happen; always ends with the terminal one.

        A viewer is at most TURN_LOG_MOST_AHEAD events ahead of the log, so that no more can be lost if this process dies.
        """
        position = after + 1
        most_ahead = settings.TURN_LOG_MOST_AHEAD
        while True:
            while position < len(self.lines):
                if position - self.logged >= most_ahead and not self.ended:
                    await self._log_follows(position, leave)
                if leave is not None and leave.gone:
                    return
                yield self.lines[position]
                position += 1
            if self.ended:
                if position == after + 1:
                    yield self.lines[-1]  # the viewer says that it has seen the end: it is told it again
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            if leave is not None:
                leave.waiter = waiter
            await waiter
            if leave is not None and leave.gone:
                return

    async def _log_follows(self, position: int, leave: Leave | None) -> None:
        """Wait until the log has come near `position`. Not where the log is away or stalls: the row follows every second."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settings.PROGRESS_INTERVAL_SECONDS
        while position - self.logged >= settings.TURN_LOG_MOST_AHEAD and not self.ended and not (leave is not None and leave.gone):
            if self._log_stalls or not self._on_ahead():
                return
            waiter = loop.create_future()
            self._held.append(waiter)
            if leave is not None:
                leave.waiter = waiter
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                self._log_stalls = True

    def standing(self) -> Rewound:
        """What there is of the running turn by now."""
        return self.told.standing(len(self.lines) - 1)

    def log_reaches(self, count: int) -> None:
        """The log in Valkey holds the first `count` lines."""
        self.logged, self._log_stalls = count, False
        self._held = _wake(self._held)

    async def finished(self) -> dict[str, Any]:
        """The assistant message as `send` answers it, once the turn has ended."""
        async with aclosing(self.view(len(self.lines) - 1)) as lines:
            async for _ in lines:
                pass
        return message_json.answer(self.message)

    def cancel(self, why: str = "cancelled") -> None:
        """Stop writing (`cancelled`, or `interrupted` by a shutdown). What ends by itself first stays as it ended."""
        if self._ending or self._why:
            return
        self._why = why
        if self._begun and self.task is not None:  # a task cancelled before its first step would never run at all
            self.task.cancel(why)

    def written(self) -> Written:
        """What the row should show by now."""
        return Written(self.message_id, self.told.text, self.told.reasoning, len(self.lines) - 1, self.told.started)

    def _heard(self) -> None:
        self._on_news(self)
        if self._waiters:
            self._waiters = _wake(self._waiters)

    # --- the run --------------------------------------------------------------------------------

    async def run(self) -> None:
        """To the end, whatever happens."""
        status: str = Status.COMPLETE
        error: AppError | None = None
        self._begun = True
        try:
            if self._why:
                raise asyncio.CancelledError(self._why)
            await self._follow()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            if self._why == "cancelled":
                status = Status.CANCELLED
            else:  # a shutdown, ours or the loop's
                status = Status.INTERRUPTED
                error = Unavailable("The server was shut down while it wrote; the text is kept.", code="interrupted")
        except RunCancelled:  # the agent's run was cancelled over the API of runs
            status = Status.CANCELLED
        except AppError as exc:
            # What broke off after its first words is an interruption; the vendor's or our own refusal is a failure.
            status, error = (Status.INTERRUPTED if exc.retryable and self.told.text else Status.FAILED), exc
        except Exception:
            logger.exception("turn_failed", extra={"message_id": str(self.message_id)})
            status, error = Status.FAILED, AppError()
        self._ending = True
        await self._end(status, error)

    async def _follow(self) -> None:
        opened, ask, told = self.opened, self.opened.ask, self.told
        fitted = await history.fit(ask, opened.branch, opened.carried, *await agent_partner.reserve(opened.agent), opened.unread)
        told.history = fitted.explained()
        context = CallContext(
            principal=self.principal, purpose="chat", surface=self.surface, request_id=self.request_id, group_id=self.message_id,
            requested_model=ask.model or "auto", goal=ask.goal or "", fallbacks=ask.fallbacks, max_cost_usd=ask.max_cost_usd,
            sticky=history.sticky(opened.branch), conversation_id=self.conversation_id, message_id=self.message_id,
        )  # fmt: skip
        async with aclosing(self._source(fitted.request, context, told.receipts)) as source:
            async for event in source:
                told.take(event)
                if told.full:
                    return

    # --- the end --------------------------------------------------------------------------------

    async def _end(self, status: str, error: AppError | None) -> None:
        self.told.start(None)
        if status in (Status.CANCELLED, Status.INTERRUPTED):
            await self._await_receipts()
        self.message = await self._store(self.told.ended(self.message, status, error, self.request_id))
        if self.message.status == Status.INTERRUPTED:
            metrics.INTERRUPTED.inc()
        self.ended = True
        self.told.add(*replay.ending(self.message))
        self._held = _wake(self._held)
        self._on_end(self)

    async def _await_receipts(self) -> None:
        """A call that was cut while it was being settled is settled behind us: its cost is then read from the books."""
        missing = self.told.calls - {receipt.call_id for receipt in self.told.receipts}
        deadline = asyncio.get_running_loop().time() + _RECEIPT_WAITS
        try:
            while missing and asyncio.get_running_loop().time() < deadline:
                missing -= await in_db(turn_store.booked_calls, self.message_id)
                if missing:
                    await asyncio.sleep(0.05)
        except Unavailable:
            return

    async def _store(self, answer: Message) -> Message:
        """Write the end. With the database away viewers are told all the same, and it is written when it is back."""
        try:
            return await in_db(turn_store.finish, answer, from_books=answer.status != Status.COMPLETE)
        except Unavailable:
            self.unstored = True
        except Exception:  # the sweeper finds the row and has the log
            logger.exception("turn_not_stored", extra={"message_id": str(self.message_id)})
        return answer

    async def store_at_last(self) -> None:
        """Keep trying to write an end that could not be written."""
        while self.unstored:
            await asyncio.sleep(_STORE_EVERY)
            try:
                await in_db(turn_store.finish, self.message, from_books=self.message.status != Status.COMPLETE)
            except Unavailable:
                continue
            self.unstored = False
