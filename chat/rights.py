"""Long-lived viewers (SSE, WebSocket) keep their view only while their credential works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from accounts.authentication import Principal, still_valid
from aiagents.lib.errors import Unavailable

# Seconds between two looks: what is revoked is closed within five.
CHECK_EVERY = 3.0
Ender = Callable[[], None]
_Credential = tuple


class _Watch:
    """The credentials in use on one event loop, each looked at once for all of its viewers."""

    def __init__(self) -> None:
        self.viewers: dict[_Credential, tuple[Principal, list[Ender]]] = {}
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        while self.viewers:
            # No sleep past the end of a token: it is cut when it expires, not up to CHECK_EVERY later.
            ends = [principal.expires_at for principal, _ in self.viewers.values() if principal.expires_at is not None]
            await asyncio.sleep(max(0.05, min([CHECK_EVERY, *(end - time.time() for end in ends)])))
            for credential, (principal, enders) in list(self.viewers.items()):
                if not await valid(principal):
                    self.viewers.pop(credential, None)
                    for end in list(enders):
                        end()


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


async def valid(principal: Principal) -> bool:
    """Whether the credential still works. With the database away it does: nobody can have revoked it there."""
    if principal.expires_at is not None and principal.expires_at <= time.time():
        return False
    try:
        return await still_valid(principal)
    except Unavailable:
        return True


@asynccontextmanager
async def watched(principal: Principal, end: Ender) -> AsyncIterator[None]:
    """`end` is called, at most once, when the principal's credential expires or is revoked inside this block."""
    watch = _watches.setdefault(asyncio.get_running_loop(), _Watch())
    credential = (principal.user_id, principal.auth_epoch, principal.key_id, principal.family_id, principal.expires_at)
    _, enders = watch.viewers.setdefault(credential, (principal, []))
    enders.append(end)
    if watch.task is None or watch.task.done():
        watch.task = asyncio.create_task(watch.run(), name="chat rights")
    try:
        yield
    finally:
        enders.remove(end)
        if not enders and watch.viewers.get(credential, (None, None))[1] is enders:
            del watch.viewers[credential]
