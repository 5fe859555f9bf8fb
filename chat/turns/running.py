"""The turns of this process (one registry per event loop): their start and end, heartbeats, logs and cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from uuid import UUID

from django.conf import settings

from accounts.authentication import Principal
from agents.calls import service as calls
from agents.runs import service as runner
from aiagents.core import draining, storage
from aiagents.core.db.calls import in_db
from aiagents.core.errors import RateLimited, Unavailable
from aiagents.core.live import liveness, outage_heartbeat, process_group
from aiagents.core.live.per_loop import PerLoop
from aiagents.core.live.running import Running
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY
from chat.conversations import history, titles
from chat.models import Message
from chat.turn_request import TurnRequest
from chat.turns import store as turn_store
from chat.turns.stored import event_log
from chat.turns.turn import Source, Turn

logger = logging.getLogger(__name__)
# Messages to all web processes about answers: stop writing them, or forget deleted ones.
CANCEL, FORGET = "turn.cancel", "turn.forget"
# Seconds between two heartbeats of all running rows, however quiet their vendor is.
_HEARTBEAT = 5.0


def cancel_key(message_id: UUID) -> str:
    """Set with every cancellation, for an owner that is not listening at that moment."""
    return f"chat:cancel:{message_id}"


class Registry(Running[Turn]):
    def __init__(self) -> None:
        super().__init__(event_log)
        self.turns = self.work
        self.starting: Counter[UUID] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # --- turns ----------------------------------------------------------------------------------

    def running(self) -> list[Turn]:
        return [turn for turn in self.turns.values() if not turn.ended]

    def reserve(self, user_id: UUID) -> None:
        """Reserve a place for one more turn of this user. It is exact within the process; the database counts over all processes."""
        count = self.starting[user_id] + sum(turn.user_id == user_id and not turn.ended for turn in self.turns.values())
        if count >= settings.MAX_CONCURRENT_TURNS_PER_USER:
            raise RateLimited("Too many answers are being written for you; wait for one to end.", code="too_many_turns", retry_after=2)
        self.starting[user_id] += 1

    def unreserve(self, user_id: UUID) -> None:
        self.starting[user_id] -= 1
        if self.starting[user_id] <= 0:
            del self.starting[user_id]

    def add(self, turn: Turn) -> None:
        """Run the turn in a task of its own."""
        self.turns[turn.message_id] = turn
        turn.saved_at = asyncio.get_running_loop().time()
        turn.task = asyncio.create_task(self._run(turn), name=f"turn {turn.message_id}")
        for name, work in (("report", self._report), ("listen", self._listen), ("cancel", self._stop_cancelled)):
            if name not in self._tasks or self._tasks[name].done():
                self._tasks[name] = asyncio.create_task(work(), name=f"chat {name}")

    async def _run(self, turn: Turn) -> None:
        await turn.run()
        self.retire(turn)
        if turn.opened.wants_title and turn.message.status == Message.Status.COMPLETE and not draining.active():
            self.spawn(titles.give(turn.principal, turn.opened.question, turn.message, surface=turn.surface, request_id=turn.request_id))

    async def store(self, one: Turn) -> None:
        await one.store_at_last()

    # --- the row: partial text and heartbeat ----------------------------------------------------

    async def _report(self) -> None:
        while self.turns:
            await asyncio.sleep(settings.PROGRESS_INTERVAL_SECONDS)
            now = asyncio.get_running_loop().time()
            moved = [turn for turn in self.running() if turn.broadcast.last > turn.saved or now - turn.saved_at >= _HEARTBEAT]
            if moved:
                written = [turn.written() for turn in moved]
                work = in_db(turn_store.progress, written)
                if (await liveness.beat(work, "chat", self.turns, turn_store.SILENCE_SECONDS))[0]:
                    for turn, row in zip(moved, written, strict=True):
                        turn.saved, turn.saved_at = row.last_seq, now
            elif any(turn.unstored for turn in self.turns.values()):
                await outage_heartbeat.say("chat", self.turns, turn_store.SILENCE_SECONDS)

    # --- control --------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Stop the turns that are stopped in another process, and forget messages that are deleted there."""
        handlers = {CANCEL: self._cancel, FORGET: self.forget}
        await process_group.listen(handlers)  # `_stop_cancelled` finds what was missed

    async def _stop_cancelled(self) -> None:
        """Stop the turns that were stopped in another process while its message was lost.

        Apart from `_report`: a Valkey that hangs must not hold up the heartbeats.
        """
        while self.turns:
            await asyncio.sleep(settings.PROGRESS_INTERVAL_SECONDS)
            if turns := self.running():
                with suppress(*AWAY):
                    stopped = await valkey.client().mget([cancel_key(turn.message_id) for turn in turns])
                    self._cancel([turn.message_id for turn, flag in zip(turns, stopped, strict=True) if flag])

    def _cancel(self, message_ids: Iterable[UUID]) -> None:
        for id in message_ids:
            if turn := self.turns.get(id):
                turn.cancel()

    def forget(self, ids: Iterable[UUID]) -> None:
        """Forget deleted messages, and stop writing their logs."""
        message_ids = list(ids)
        history.forget_here(message_ids)
        super().forget(message_ids)


_registries = PerLoop(Registry)
here = _registries.here


async def start(
    principal: Principal, request: TurnRequest, *, surface: str, request_id: str, source: Source = calls.stream,
    with_answer: Callable[[UUID], None] | None = None,
) -> Turn:  # fmt: skip
    """Save the question and an empty answer, start the turn in a task of its own and return it.

    If the caller is cancelled meanwhile, a whole turn runs and not half of one. `with_answer` gets the answer's id in the
    transaction that opens the turn.
    """
    if draining.active():
        raise Unavailable("The server is shutting down; try again in a moment.", code="shutting_down", retry_after=draining.RETRY_AFTER)
    storage.refuse_if_low()
    await history.check_models(request)
    return await asyncio.shield(here().spawn(_start(principal, request, surface, request_id, source, with_answer)))


async def _start(
    principal: Principal, request: TurnRequest, surface: str, request_id: str, source: Source, with_answer: Callable[[UUID], None] | None
) -> Turn:
    registry = here()
    registry.reserve(principal.user_id)
    try:
        opened = await in_db(turn_store.open_turn, principal.user, request, with_answer)
        if opened.agent is not None:  # its run has the id of the message that it writes
            source = partial(runner.stream, definition=opened.agent, run_id=opened.answer.id)
        turn = Turn(opened, principal, surface=surface, request_id=request_id, source=source, writer=registry.writer)
        registry.add(turn)
    finally:
        registry.unreserve(principal.user_id)
    return turn


def running_everywhere() -> int:
    """Return how many turns run in this process, on all of its loops."""
    return sum(len(one.running()) for _, one in _registries.all())
