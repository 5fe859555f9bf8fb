"""The turn's log in Valkey: a stream per turn, so that any process can show a turn that another one writes.

One entry holds the events of one batch as `seq -> b"type\\n{json}"`, and its id is the seq of its last event + 1.
So a reader finds its place by the id alone, and the server itself refuses a batch that is written twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from redis.exceptions import RedisError, ResponseError

from aiagents.core.valkey import clients as valkey

TurnLine = tuple[int, str, bytes]
TERMINAL = ("message.end", "error")
# Seconds that one read waits for news before its reader looks at the row again.
BLOCK_SECONDS = 2.0


def key(message_id: UUID) -> str:
    return f"chat:turn:{message_id}"


def fields(lines: list[TurnLine]) -> dict[bytes, bytes]:
    return {b"%d" % seq: kind.encode() + b"\n" + data for seq, kind, data in lines}


def parse(entry: dict[bytes, bytes]) -> list[TurnLine]:
    lines = []
    for seq, value in entry.items():
        kind, _, data = value.partition(b"\n")
        lines.append((int(seq), kind.decode(), data))
    return lines


async def write(batches: dict[UUID, tuple[list[TurnLine], bool]]) -> dict[UUID, int]:
    """Append each turn's new lines, all turns in one round trip; message id -> seq that its log now ends with.

    The flag says that the lines begin with the turn's first: only then may the stream be made. A log that is gone
    (a Valkey restarted empty) or ends elsewhere is told by a seq that the writer did not expect; -1: it is not there.
    """
    pipe = valkey.client().pipeline(transaction=False)
    for id, (lines, whole) in batches.items():
        pipe.xadd(key(id), fields(lines), id=f"{lines[-1][0] + 1}-0", nomkstream=not whole)
        pipe.expire(key(id), settings.TURN_LOG_TTL_SECONDS)
    answers = await pipe.execute(raise_on_error=False)
    ends: dict[UUID, int] = {}
    for index, (id, (lines, _)) in enumerate(batches.items()):
        answer = answers[2 * index]
        if isinstance(answer, ResponseError):
            ends[id] = await end_of(id)
        elif isinstance(answer, RedisError):
            raise answer
        else:
            ends[id] = lines[-1][0] if answer is not None else -1
    return ends


async def end_of(message_id: UUID) -> int:
    """The seq of the last event that the log holds; -1: there is no log."""
    last = await valkey.client().xrevrange(key(message_id), count=1)
    return int(last[0][0].split(b"-")[0]) - 1 if last else -1


async def read(message_id: UUID, after: int) -> AsyncGenerator[list[TurnLine], None]:
    """Batches of lines after `after`, in order, without gap or repeat, ending with the terminal one.

    An empty batch means that nothing came for a while. Ends without a terminal line when the log is not there or has
    a gap (it was lost and begun anew): the caller then tells the truth from the row.
    """
    client, name = valkey.blocking_client(), key(message_id)
    try:
        position, first = f"{after + 1}-0", True
        while True:
            # The first look must not wait: a log that is not there is an answer, too.
            found = await client.xread({name: position}, count=500, block=None if first else int(BLOCK_SECONDS * 1000))
            first = False
            if valkey.leaving():  # the client lost a cancellation: without this the read would go on for ever
                raise asyncio.CancelledError
            entries = found[0][1] if found else []
            lines = [line for _, entry in entries for line in parse(entry) if line[0] > after]
            if not lines and not await client.exists(name):
                return
            if lines:
                if [line[0] for line in lines] != list(range(after + 1, after + 1 + len(lines))):
                    return
                after, position = lines[-1][0], entries[-1][0]
            yield lines
            if lines and lines[-1][1] in TERMINAL:
                return
    finally:
        await client.aclose()


@dataclass(slots=True)
class Told:
    """What the log knows of a turn. `last` -1: nothing. `end`: its terminal line."""

    content: str = ""
    reasoning: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    provider: str = ""
    route: dict[str, Any] = field(default_factory=dict)
    last: int = -1
    end: TurnLine | None = None
    attempt: int = 0


def text_so_far(message_id: UUID) -> Told:
    """All that the log holds, for the sweeper; what comes after a gap is not believed."""
    told = Told()
    for _, entry in valkey.sync_client().xrange(key(message_id)):
        for seq, kind, data in parse(entry):
            if seq != told.last + 1:
                return told
            told.last = seq
            if kind in TERMINAL:
                told.end = (seq, kind, data)
                continue
            value = orjson.loads(data)
            match kind:
                case "content.delta":
                    told.content += value["text"]
                case "reasoning.delta":
                    told.reasoning += value["text"]
                case "tool.call" | "tool.result":
                    told.steps.append({"type": kind, **value})
                case "run.status" if value["attempt"] != told.attempt:  # a task's further attempt begins its text anew
                    told.attempt = value["attempt"]
                    told.content, told.reasoning, told.steps = "", "", []
                case "message.start":
                    told.model, told.provider, told.route = value["model"], value["provider"], value["route"]
    return told


def close(message_id: UUID, line: TurnLine) -> None:
    """Append the end of a turn whose process is gone; where the log went on meanwhile, nothing happens."""
    client = valkey.sync_client()
    try:
        client.xadd(key(message_id), fields([line]), id=f"{line[0] + 1}-0", nomkstream=True)
        client.expire(key(message_id), settings.TURN_LOG_TTL_SECONDS)
    except ResponseError:
        return
