"""Turns: start one, watch one from any process, stop one, and tidy up after a process that died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any
from uuid import UUID

from accounts.authentication import Principal
from agents.calls import service as calls
from agents.recorded import rewind_line
from agents.runs import service as runner
from aiagents.core import draining, storage
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.live.broadcast import Leave
from aiagents.core.live.event_log import Line
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY
from chat.conversations import as_json as message_json
from chat.conversations import history, titles, tree
from chat.models import Message
from chat.turn_request import Ask
from chat.turns import store as turn_store
from chat.turns import stored
from chat.turns.running import CONTROL, cancel_key, here
from chat.turns.sweep import sweep
from chat.turns.turn import Source, Turn

__all__ = ["Ask", "Leave", "Turn", "attach", "cancel", "drain", "start", "sweep"]
# Seconds that `cancel` waits for the process that writes the turn.
_CANCEL_WAITS = 5.0


async def start(
    principal: Principal, ask: Ask, *, surface: str, request_id: str, source: Source = calls.stream,
    with_answer: Callable[[Message], None] | None = None,
) -> Turn:  # fmt: skip
    """The running turn: question and empty answer are saved, its own task writes it.

    A caller that is cancelled while this runs leaves a turn that goes on, not half of one. `with_answer` runs in the
    transaction that opens the turn.
    """
    if draining.active():
        raise Unavailable("The server is shutting down; try again in a moment.", code="shutting_down", retry_after=draining.RETRY_AFTER)
    storage.refuse_if_low()
    await history.check_models(ask)
    return await asyncio.shield(here().spawn(_start(principal, ask, surface, request_id, source, with_answer)))


async def _start(
    principal: Principal, ask: Ask, surface: str, request_id: str, source: Source, with_answer: Callable[[Message], None] | None
) -> Turn:
    registry = here()
    registry.reserve(principal.user_id)
    try:
        opened = await in_db(turn_store.open_turn, principal.user, ask, with_answer)
        if opened.agent is not None:  # its run has the id of the message that it writes
            source = partial(runner.stream, definition=opened.agent, run_id=opened.answer.id)
        turn = Turn(
            opened,
            principal,
            surface=surface,
            request_id=request_id,
            source=source,
            writer=registry.writer,
            on_end=_on_end,
        )
        registry.add(turn)
    finally:
        registry.unreserve(principal.user_id)
    return turn


def _on_end(turn: Turn) -> None:
    registry = here()
    registry.on_end(turn)
    if turn.opened.wants_title and turn.message.status == Message.Status.COMPLETE and not draining.active():
        registry.spawn(titles.give(turn.principal, turn.opened.question, turn.message, surface=turn.surface, request_id=turn.request_id))


async def attach(principal: Principal, message_id: UUID, after: int = -1, leave: Leave | None = None) -> AsyncGenerator[Line, None]:
    """The turn's events after seq `after`, from wherever they are; NotFound before anything is shown.

    While the turn runs and TURN_LOG_TTL_SECONDS after, every event once and in order. Later, told from the row
    (replay.py). Always ends with the terminal event, also for a viewer that has seen it. A viewer whose `after` is beyond
    what stands gets `message.rewind` first.
    """
    turn = here().turns.get(message_id)
    if turn is not None and turn.user_id == principal.user_id:
        return turn.view(after, leave) if after < len(turn.lines) or turn.ended else _rewound(turn, leave)
    await in_db(tree.own_message, principal.user_id, message_id, Message.Role.ASSISTANT)
    return stored.follow(message_id, after, leave)


async def _rewound(turn: Turn, leave: Leave | None) -> AsyncGenerator[Line, None]:
    """The rewind, then the events after it."""
    rewound = turn.standing()
    yield rewind_line(rewound)
    async with aclosing(turn.view(rewound.seq, leave)) as rest:
        async for line in rest:
            yield line


async def cancel(principal: Principal, message_id: UUID) -> dict[str, Any]:
    """Stop writing, in whatever process; the assistant message as it ended. What has ended stays as it is.

    Still `streaming` in the answer: its process did not hear of it within seconds (the sweeper ends it, if it is gone).
    """
    turn = here().turns.get(message_id)
    if turn is not None and turn.user_id == principal.user_id:
        turn.cancel()
        return await asyncio.shield(here().spawn(turn.finished()))
    answer = await in_db(tree.own_message, principal.user_id, message_id, Message.Role.ASSISTANT)
    if answer.status in Message.RUNNING:
        try:
            await valkey.client().set(cancel_key(message_id), 1, ex=60)
            await valkey.client().publish(CONTROL, str(message_id))
        except AWAY as exc:
            raise Unavailable("The process that writes this answer cannot be reached now.", code="valkey_away", retry_after=2) from exc
        deadline = asyncio.get_running_loop().time() + _CANCEL_WAITS
        while answer.status in Message.RUNNING and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
            answer = await in_db(Message.objects.get, id=message_id)
    return message_json.answer(answer)


async def message_of(principal: Principal, message_id: UUID) -> Message:
    """The user's own assistant message as the row has it; NotFound otherwise."""
    return await in_db(tree.own_message, principal.user_id, message_id, Message.Role.ASSISTANT)


async def drain(seconds: float) -> None:
    """Let what runs end by itself for `seconds`; then end it as interrupted, everything kept and paid for."""
    registry = here()
    if running := {turn.task for turn in registry.running() if turn.task}:
        await asyncio.wait(running, timeout=seconds - min(2.0, seconds / 4))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 3.0
    while loop.time() < deadline:
        for turn in registry.running():  # each time: one that was just being started is a turn by now
            turn.cancel("interrupted")
        # Their ends, rows and logs, and titles.
        rest = {turn.task for turn in registry.running() if turn.task} | registry.loose
        if not rest:
            return
        await asyncio.wait(rest, timeout=0.1)
