"""Turns: start one, watch one from any process, stop one, and tidy up after a process that died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any
from uuid import UUID

from accounts.authentication import Principal
from agents.calls import service as calls
from agents.events import Rewound
from agents.runs import service as runner
from aiagents.core import draining, storage
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY
from chat.conversations import as_json as message_json
from chat.conversations import history, titles, tree
from chat.models import Message
from chat.turn_request import Ask
from chat.turns import event_log, replay, rewind
from chat.turns import store as turn_store
from chat.turns.event_log import TERMINAL, TurnLine
from chat.turns.running import CONTROL, cancel_key, here
from chat.turns.sweep import sweep
from chat.turns.turn import Leave, Source, Turn

__all__ = ["Ask", "Leave", "Turn", "attach", "cancel", "drain", "start", "sweep"]
logger = logging.getLogger(__name__)
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
            on_news=registry.on_news,
            on_end=_on_end,
            on_ahead=registry.on_ahead,
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


async def attach(principal: Principal, message_id: UUID, after: int = -1, leave: Leave | None = None) -> AsyncGenerator[TurnLine, None]:
    """The turn's events after seq `after`, from wherever they are; NotFound before anything is shown.

    While the turn runs and TURN_LOG_TTL_SECONDS after, every event once and in order. Later, told from the row
    (replay.py). Always ends with the terminal event, also for a viewer that has seen it. A viewer whose `after` is beyond
    what stands gets `message.rewind` first.
    """
    turn = here().turns.get(message_id)
    if turn is not None and turn.user_id == principal.user_id:
        if after < len(turn.lines) or turn.ended:
            return turn.view(after, leave)
        return _rewound(turn.standing(), partial(turn.view, leave=leave))
    answer = await in_db(tree.own_message, principal.user_id, message_id, Message.Role.ASSISTANT)
    if answer.status not in Message.RUNNING and (rewound := rewind.by_row(answer, after)) is not None:
        return _rewound(rewound, partial(_follow, answer, leave=leave))
    return _follow_log(answer, after, leave) if after >= 0 and answer.status in Message.RUNNING else _follow(answer, after, leave)


async def _rewound(rewound: Rewound, lines: Callable[[int], AsyncGenerator[TurnLine, None]]) -> AsyncGenerator[TurnLine, None]:
    """The rewind, then the events after it."""
    yield rewind.line(rewound)
    async with aclosing(lines(rewound.seq)) as rest:
        async for line in rest:
            yield line


async def _follow_log(answer: Message, after: int, leave: Leave | None) -> AsyncGenerator[TurnLine, None]:
    """A turn that another process writes or wrote, for a viewer that may have seen more of it than the log holds."""
    try:
        rewound = await rewind.by_log(answer.id, after)
        if rewound is not None:
            answer = await in_db(Message.objects.get, id=answer.id)
            rewound = rewind.by_row_or_log(answer, rewound, after)
    except AWAY:
        rewound = None
    follow = partial(_follow, answer, leave=leave)
    async with aclosing(follow(after) if rewound is None else _rewound(rewound, follow)) as lines:
        async for line in lines:
            yield line


async def _follow(answer: Message, after: int, leave: Leave | None) -> AsyncGenerator[TurnLine, None]:
    """A turn of another process: by its log; where that is away, by its row once it has ended."""
    while True:
        try:
            async with aclosing(event_log.read(answer.id, after)) as batches:
                async for lines in batches:
                    for line in lines:
                        if leave is not None and leave.gone:
                            return
                        after = line[0]
                        yield line
                        if line[1] in TERMINAL:
                            return
                    if leave is not None and leave.gone:
                        return
                    if not lines and (await in_db(_status, answer.id)) not in Message.RUNNING:
                        break
        except AWAY:
            logger.warning("turn_log_away", extra={"message_id": str(answer.id)})
        answer = await in_db(Message.objects.get, id=answer.id)
        if answer.status not in Message.RUNNING:
            for line in replay.lines(answer, after):
                yield line
            return
        if leave is not None and leave.gone:
            return
        await asyncio.sleep(0.2)


def _status(message_id: UUID) -> str:
    return Message.objects.values_list("status", flat=True).get(id=message_id)


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
