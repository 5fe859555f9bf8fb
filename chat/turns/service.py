"""Turns: start one (running.py), view or stop one from any process, end those of a process that died (sweep.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from accounts.authentication import Principal
from agents.recorded import rewind_line
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.live import process_group
from aiagents.core.live.broadcast import Leave
from aiagents.core.live.cancellation import Cause
from aiagents.core.live.event_log import Line
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY
from chat.conversations import as_json as message_json
from chat.conversations import tree
from chat.models import Message
from chat.turn_request import TurnRequest
from chat.turns import stored
from chat.turns.running import CANCEL, cancel_key, here, start
from chat.turns.sweep import sweep
from chat.turns.turn import Turn

__all__ = ["Leave", "Turn", "TurnRequest", "attach", "cancel", "drain", "start", "sweep"]
# Seconds that `cancel` waits for the process that writes the turn.
_CANCEL_WAITS = 5.0


async def attach(principal: Principal, message_id: UUID, after: int = -1, leave: Leave | None = None) -> AsyncGenerator[Line, None]:
    """Yield the turn's events after seq `after`, from any process. Raises NotFound before the first one.

    While the turn runs and TURN_LOG_TTL_SECONDS after, these are all events once and in order; later, those made from the
    row (replay.py). The last is always the terminal event, also for a viewer that has seen it. A viewer whose `after` is
    beyond the stored events gets `message.rewind` first.
    """
    turn = here().turns.get(message_id)
    if turn is not None and turn.user_id == principal.user_id:
        return turn.view(after, leave) if after < len(turn.lines) or turn.ended else _rewound(turn, leave)
    await in_db(tree.own_message, principal.user_id, message_id, Message.Role.ASSISTANT)
    return stored.follow(message_id, after, leave)


async def _rewound(turn: Turn, leave: Leave | None) -> AsyncGenerator[Line, None]:
    """Yield the rewind, then the events after it."""
    rewound = turn.so_far()
    yield rewind_line(rewound)
    async with aclosing(turn.view(rewound.seq, leave)) as rest:
        async for line in rest:
            yield line


async def cancel(principal: Principal, message_id: UUID) -> dict[str, Any]:
    """Stop the turn in any process; return the assistant message as it ended. An ended turn stays as it is.

    The message is still `streaming` if its process did not answer within seconds (the sweeper ends it, if that is gone).
    """
    turn = here().turns.get(message_id)
    if turn is not None and turn.user_id == principal.user_id:
        turn.cancel()
        return await asyncio.shield(here().spawn(turn.finished()))
    answer = await in_db(tree.own_message, principal.user_id, message_id, Message.Role.ASSISTANT)
    if answer.status in Message.RUNNING:
        try:
            await valkey.client().set(cancel_key(message_id), 1, ex=60)
            await process_group.send(CANCEL, [message_id])
        except AWAY as exc:
            raise Unavailable("The process that writes this answer cannot be reached now.", code="valkey_away", retry_after=2) from exc
        deadline = asyncio.get_running_loop().time() + _CANCEL_WAITS
        while answer.status in Message.RUNNING and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
            answer = await in_db(Message.objects.get, id=message_id)
    return message_json.answer(answer)


async def message_of(principal: Principal, message_id: UUID) -> Message:
    """Return the user's own assistant message as its row has it. Raises NotFound for any other."""
    return await in_db(tree.own_message, principal.user_id, message_id, Message.Role.ASSISTANT)


async def drain(seconds: float) -> None:
    """Wait `seconds` for the turns to end, then interrupt the others. Their text is kept and their cost charged."""
    registry = here()
    if running := {turn.task for turn in registry.running() if turn.task}:
        await asyncio.wait(running, timeout=seconds - min(2.0, seconds / 4))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 3.0
    while loop.time() < deadline:
        for turn in registry.running():  # each time: one that was just being started is a turn by now
            turn.cancel(Cause.INTERRUPTED)
        # Their ends, rows and logs, and titles.
        rest = {turn.task for turn in registry.running() if turn.task} | registry.background
        if not rest:
            return
        await asyncio.wait(rest, timeout=0.1)
