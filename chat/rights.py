"""Long-lived viewers (SSE, WebSocket) keep their view only while their credential works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from accounts.authentication import Principal, still_valid_ones
from accounts.principals import Standing
from aiagents.lib.errors import Unavailable

# Seconds between two looks: what is revoked is closed within five.
CHECK_EVERY = 3.0
# Credentials asked about in one statement.
_AT_ONCE = 1000
Ender = Callable[[], None]


class _Watch:
    """The credentials in use on one event loop, each looked at once for all of its viewers."""

    def __init__(self) -> None:
        self.viewers: dict[Standing, tuple[Principal, list[Ender]]] = {}
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        while self.viewers:
            # No sleep past the end of a token: it is cut when it expires, not up to CHECK_EVERY later.
            ends = [principal.expires_at for principal, _ in self.viewers.values() if principal.expires_at is not None]
            await asyncio.sleep(max(0.05, min([CHECK_EVERY, *(end - time.time() for end in ends)])))
            watched = list(self.viewers.items())
            for first in range(0, len(watched), _AT_ONCE):
                some = watched[first : first + _AT_ONCE]
                good = await valid(principal for _, (principal, _) in some)
                for standing, _ in some:
                    if standing not in good and (ended := self.viewers.pop(standing, None)):
                        for end in list(ended[1]):
                            end()


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


async def valid(principals: Iterable[Principal]) -> set[Standing]:
    """Whose credentials still work. With the database away they do: nobody can have revoked one there."""
    asked, now = list(principals), time.time()
    try:
        return await still_valid_ones(asked)
    except Unavailable:
        return {Standing.of(one) for one in asked if one.expires_at is None or one.expires_at > now}


@asynccontextmanager
async def watched(principal: Principal, end: Ender) -> AsyncIterator[None]:
    """`end` is called, at most once, when the principal's credential expires or is revoked inside this block."""
    watch = _watches.setdefault(asyncio.get_running_loop(), _Watch())
    standing = Standing.of(principal)
    _, enders = watch.viewers.setdefault(standing, (principal, []))
    enders.append(end)
    if watch.task is None or watch.task.done():
        watch.task = asyncio.create_task(watch.run(), name="chat rights")
    try:
        yield
    finally:
        enders.remove(end)
        if not enders and watch.viewers.get(standing, (None, None))[1] is enders:
            del watch.viewers[standing]
