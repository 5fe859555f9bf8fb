"""Heartbeats over Valkey, of a process that cannot reach the database. Sweepers leave the work that they name alone.

A database that hangs neither takes nor refuses a heartbeat. When it continues, a sweeper may read it before the heartbeats that
wait are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar
from uuid import UUID

from aiagents.core.errors import Unavailable
from aiagents.core.valkey import clients as valkey

T = TypeVar("T")
# Seconds that a heartbeat in the database may take before one goes to Valkey, too.
PATIENCE = 2.0


def key(kind: str, one: UUID) -> str:
    return f"{kind}:alive:{one}"


async def beat(work: Awaitable[T], kind: str, living: Iterable[UUID], seconds: float) -> T:
    """Return the result of `work`, the heartbeat of `living` in the database. While it waits, and if it fails, one goes to Valkey."""
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
    """Write the heartbeat to Valkey. Does nothing while Valkey is away, too."""
    try:
        pipe = valkey.client().pipeline(transaction=False)
        for one in living:
            pipe.set(key(kind, one), 1, px=int(seconds * 1000))
        await pipe.execute()
    except valkey.AWAY:
        return


def among(kind: str, silent: Iterable[UUID]) -> set[UUID]:
    """Return those of `silent` that have a heartbeat in Valkey (for sync code); none while Valkey is away."""
    ids = list(silent)
    try:
        found = valkey.sync_client().mget([key(kind, one) for one in ids]) if ids else []
    except valkey.AWAY:
        return set()
    return {one for one, word in zip(ids, found, strict=True) if word is not None}
