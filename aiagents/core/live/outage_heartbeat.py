"""The word of a process that cannot reach the database, over Valkey: what it works at is alive. Sweepers leave that alone.

A database that hangs takes no heartbeat and refuses none; when it goes on, a sweeper may look before the heartbeats that wait are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar
from uuid import UUID

from aiagents.core.errors import Unavailable
from aiagents.core.valkey import clients as valkey

T = TypeVar("T")
# Seconds that a heartbeat may take before the word is said beside it.
PATIENCE = 2.0


def key(kind: str, one: UUID) -> str:
    return f"{kind}:alive:{one}"


async def beat(work: Awaitable[T], kind: str, living: Iterable[UUID], seconds: float) -> T:
    """The result of `work`, a heartbeat for `living` in the database. As long as it waits, and when it fails, they are said to live."""
    ids = list(living)
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=PATIENCE))[0]:
            await say(kind, ids, seconds)
        return task.result()
    except Unavailable:
        await say(kind, ids, seconds)
        raise
    finally:
        task.cancel()


async def say(kind: str, living: Iterable[UUID], seconds: float) -> None:
    """They live, for so long. Nothing happens while Valkey is away, too."""
    try:
        pipe = valkey.client().pipeline(transaction=False)
        for one in living:
            pipe.set(key(kind, one), 1, px=int(seconds * 1000))
        await pipe.execute()
    except valkey.AWAY:
        return


def among(kind: str, silent: Iterable[UUID]) -> set[UUID]:
    """Those of the silent that were said to live (for sync code); none while Valkey is away."""
    ids = list(silent)
    try:
        said = valkey.sync_client().mget([key(kind, one) for one in ids]) if ids else []
    except valkey.AWAY:
        return set()
    return {one for one, word in zip(ids, said, strict=True) if word is not None}
