"""The events of one piece of work as a stream in Valkey, so that any process can follow work that another one does.

One entry holds the events of one batch as `seq -> b"type\\n{json}"`, and its id is the seq of its last event + 1.
So a reader finds its place by the id alone, and the server itself refuses a batch that is written twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import cast
from uuid import UUID

from django.conf import settings
from redis.exceptions import RedisError, ResponseError
from redis.typing import EncodableT, FieldT

from aiagents.core.valkey import clients as valkey

# An event: its seq (from 0, without a gap), its type, its data as JSON.
Line = tuple[int, str, bytes]
# An entry of the stream: its id and its fields. redis-py types them for clients that decode bytes, too; ours do not.
Entry = tuple[bytes, dict[bytes, bytes]]
# The types with which the events of a piece of work end.
TERMINAL = ("message.end", "error")
# Seconds that one read waits for events before its reader looks at the row again.
BLOCK_SECONDS = 2.0
# Seconds that a log which is behind a viewer is given to catch up: its writer may be alive and only about to write.
CATCH_UP_SECONDS = 1.0


class EventLog:
    """The logs of one kind of work; `prefix` is the first part of their keys."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def key(self, id: UUID) -> str:
        return f"{self.prefix}:{id}"

    async def write(self, batches: dict[UUID, tuple[list[Line], bool]]) -> dict[UUID, int]:
        """Append the new lines of each log, all in one round trip; id -> the seq that its log now ends with.

        The flag says that the lines begin with the first event: only then may the stream be made. A log that is gone
        (a Valkey restarted empty) or ends elsewhere shows by a seq that the writer did not expect; -1: there is no log.
        """
        pipe = valkey.client().pipeline(transaction=False)
        for id, (lines, whole) in batches.items():
            pipe.xadd(self.key(id), _fields(lines), id=f"{lines[-1][0] + 1}-0", nomkstream=not whole)
            pipe.expire(self.key(id), settings.TURN_LOG_TTL_SECONDS)
        answers = await pipe.execute(raise_on_error=False)
        ends: dict[UUID, int] = {}
        for index, (id, (lines, _)) in enumerate(batches.items()):
            answer = answers[2 * index]
            if isinstance(answer, ResponseError):
                ends[id] = await self.end_of(id)
            elif isinstance(answer, RedisError):
                raise answer
            else:
                ends[id] = lines[-1][0] if answer is not None else -1
        return ends

    async def end_of(self, id: UUID) -> int:
        """The seq of the last event that the log holds; -1: there is no log."""
        last = cast(list[Entry], await valkey.client().xrevrange(self.key(id), count=1))
        return int(last[0][0].split(b"-")[0]) - 1 if last else -1

    async def delete(self, ids: list[UUID]) -> None:
        await valkey.client().delete(*map(self.key, ids))

    async def read(self, id: UUID, after: int) -> AsyncGenerator[list[Line], None]:
        """Batches of lines after seq `after`, in order, without gap or repeat; the caller leaves with the terminal one.

        An empty batch means that nothing came for a while. Ends when the log is not there or has a gap (it was lost and
        begun anew): the caller then reads the row.
        """
        client, name = valkey.blocking_client(), self.key(id)
        try:
            position: bytes | str = f"{after + 1}-0"
            first = True
            while True:
                # The first look must not wait: a log that is not there is an answer, too.
                block = None if first else int(BLOCK_SECONDS * 1000)
                found = cast(list[tuple[bytes, list[Entry]]], await client.xread({name: position}, count=500, block=block))
                first = False
                if valkey.cancelled():  # the client lost a cancellation: without this the read would go on for ever
                    raise asyncio.CancelledError
                entries = found[0][1] if found else []
                lines = [line for _, entry in entries for line in _parse(entry) if line[0] > after]
                if not lines and not await client.exists(name):
                    return
                if lines:
                    if [line[0] for line in lines] != list(range(after + 1, after + 1 + len(lines))):
                        return
                    after, position = lines[-1][0], entries[-1][0]
                yield lines
        finally:
            await client.aclose()

    async def lines_short_of(self, id: UUID, after: int) -> list[Line] | None:
        """All that the log holds, where that is less than a viewer has seen, who names event `after`.

        None where the log holds that event, gets it within CATCH_UP_SECONDS, or is not there at all.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CATCH_UP_SECONDS
        while -1 < await self.end_of(id) < after:
            if loop.time() >= deadline:
                return await asyncio.to_thread(self.recorded, id)
            await asyncio.sleep(settings.TURN_LOG_BATCH_SECONDS)
        return None

    # --- for sync code --------------------------------------------------------------------------

    def delete_sync(self, ids: Sequence[UUID]) -> None:
        if ids:
            valkey.sync_client().delete(*map(self.key, ids))

    def recorded(self, id: UUID) -> list[Line]:
        """All that the log holds, up to a gap: what comes after one is not trusted."""
        lines: list[Line] = []
        for _, entry in cast(list[Entry], valkey.sync_client().xrange(self.key(id))):
            for line in _parse(entry):
                if line[0] != len(lines):
                    return lines
                lines.append(line)
        return lines

    def close(self, id: UUID, line: Line) -> None:
        """Append the end of work whose process is gone; where the log went on meanwhile, nothing happens."""
        client = valkey.sync_client()
        try:
            client.xadd(self.key(id), _fields([line]), id=f"{line[0] + 1}-0", nomkstream=True)
            client.expire(self.key(id), settings.TURN_LOG_TTL_SECONDS)
        except ResponseError:
            return


def _fields(lines: list[Line]) -> dict[FieldT, EncodableT]:
    return {b"%d" % seq: kind.encode() + b"\n" + data for seq, kind, data in lines}


def _parse(entry: dict[bytes, bytes]) -> list[Line]:
    lines = []
    for seq, value in entry.items():
        kind, _, data = value.partition(b"\n")
        lines.append((int(seq), kind.decode(), data))
    return lines
