"""Streams, sockets and long requests live only as long as the credential that opened them: one watch for all of them.

Each event loop has one task that asks every CHECK_EVERY seconds, for all credentials in use at once, which of them
still work. It asks about one user's at once when `look_at` says that something about them changed. The accounts
register how to ask.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context
from typing import Any, Protocol, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from aiagents.core.errors import NotAuthenticated, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")
# Seconds between two looks, and between two looks at the clock while one waits for the database. Together they stay
# below the five in which every stream has to end.
CHECK_EVERY, CHECK_SECONDS = 2.0, 1.0
# Seconds between two looks that announcements cause.
PAUSE = 0.1
# Credentials asked about in one call of the check.
_AT_ONCE = 1000


class CredentialEnded(NotAuthenticated):
    message = "Your credential has ended; sign in again."


class CredentialRef(Protocol):
    """A reference to a credential, without its secret. Hashable: viewers with the same reference are checked once."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def expires_at(self) -> float | None: ...
    def __hash__(self) -> int: ...


class Credential(Protocol):
    @property
    def credential_ref(self) -> Any: ...


Check = Callable[[list[Any]], Awaitable[set[Any]]]
Ender = Callable[[], None]
OfRequest = Callable[[HttpRequest], Credential | None]


async def _unregistered(credential_refs: list[Any]) -> set[Any]:
    raise RuntimeError("no check of credentials is registered")


def _nobody(request: HttpRequest) -> Credential | None:
    return None


registered_check: Check = _unregistered
registered_reader: OfRequest = _nobody


def register(check: Check, of_request: OfRequest = _nobody) -> None:
    """Set the function that returns the references that still work, and the one that finds a request's credential.

    The first function may raise `Unavailable`.
    """
    global registered_check, registered_reader
    registered_check, registered_reader = check, of_request


class _Watch:
    """The credentials in use on one event loop, each with the function that ends what it opened.

    Every request enters and leaves here, so that entering is one insertion; what is alike is put together only when it
    is looked at.
    """

    def __init__(self) -> None:
        self.viewers: dict[object, tuple[Credential, Ender]] = {}
        self.task: asyncio.Task[None] | None = None
        self.changed: set[UUID] = set()
        self.wake = asyncio.Event()

    async def run(self) -> None:
        looked_at = time.monotonic()
        while self.viewers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), self._patience(looked_at))
            await asyncio.sleep(PAUSE)  # several announcements are one look
            changed, self.changed = self.changed, set()
            self.wake.clear()
            if time.monotonic() - looked_at >= CHECK_EVERY - PAUSE:
                looked_at = time.monotonic()
                await self.look(self.credential_refs())
            else:
                now = time.time()
                await self.look({one for one in self.credential_refs() if one.user_id in changed or _expired(one, now)})

    def credential_refs(self) -> set[Any]:
        """What the credentials in use stand on, each once."""
        return {credential.credential_ref for credential, _ in self.viewers.values()}

    def _patience(self, looked_at: float) -> float:
        """Seconds until the next look: a credential ends when it expires, not up to CHECK_EVERY later."""
        ends = [one.expires_at - time.time() for one in self.credential_refs() if one.expires_at is not None]
        return max(0.01, min([looked_at + CHECK_EVERY - PAUSE - time.monotonic(), *ends]))

    async def look(self, credential_refs: set[Any]) -> None:
        """Ask about these, and end what was opened by those that no longer work."""
        self.end_expired()
        asked = list(credential_refs & self.credential_refs())
        for first in range(0, len(asked), _AT_ONCE):
            some = asked[first : first + _AT_ONCE]
            self.end(set(some) - await self._good(some))

    async def _good(self, some: list[Any]) -> set[Any]:
        """Those that still work.

        A database that hangs is waited for, with one question open; what expires meanwhile ends in time.
        """
        asking = asyncio.create_task(valid(some))
        try:
            while not (await asyncio.wait({asking}, timeout=CHECK_SECONDS))[0]:
                self.end_expired()
            return asking.result()
        finally:
            asking.cancel()

    def end_expired(self) -> None:
        now = time.time()
        self.end({one for one in self.credential_refs() if _expired(one, now)})

    def end(self, credential_refs: set[Any]) -> None:
        """End what was opened by any of these."""
        if not credential_refs:
            return
        for mark, (credential, end) in list(self.viewers.items()):
            if credential.credential_ref not in credential_refs:
                continue
            self.viewers.pop(mark, None)
            try:
                end()
            except Exception:
                log.exception("ending what a credential had opened failed")


def _expired(credential_ref: Any, now: float) -> bool:
    return credential_ref.expires_at is not None and credential_ref.expires_at <= now


watches_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


async def valid(credential_refs: Iterable[Any]) -> set[Any]:
    """Those that still work. With the database away all that have not expired do: none can have been revoked there."""
    asked, now = list(credential_refs), time.time()
    try:
        return await registered_check(asked)
    except Unavailable:
        pass
    except Exception:
        log.exception("the check of credentials failed")
    return {one for one in asked if not _expired(one, now)}


class watched:  # a context manager, called as a function is
    """Call `end` on this event loop, at most once, when the credential expires or is revoked inside this block.

    None: nothing ends it.
    """

    __slots__ = ("_credential", "_end", "_viewers")

    def __init__(self, credential: Credential | None, end: Ender) -> None:
        self._credential, self._end = credential, end

    def __enter__(self) -> None:
        if self._credential is None:
            return
        loop = asyncio.get_running_loop()
        watch = watches_by_loop.get(loop) or watches_by_loop.setdefault(loop, _Watch())
        self._viewers = watch.viewers
        self._viewers[self] = self._credential, self._end
        if watch.task is None or watch.task.done():
            # Not in the context of this request, whose ids would stand on the log lines of the watch.
            watch.task = asyncio.create_task(watch.run(), name="credentials", context=Context())

    def __exit__(self, *raised: object) -> None:
        if self._credential is not None:
            self._viewers.pop(self, None)


async def while_valid(credential: Credential | None, work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work()`, run in this task.

    When the credential ends meanwhile the work is cancelled and `CredentialEnded` raised.
    """
    me = asyncio.current_task()
    assert me is not None
    ended = False

    def end() -> None:
        nonlocal ended
        ended = True
        me.cancel()

    with watched(credential, end):
        try:
            return await work()
        except asyncio.CancelledError:
            if not ended:
                raise
            raise CredentialEnded from None
        finally:
            if ended:
                me.uncancel()


def watch_response(request: HttpRequest, response: HttpResponseBase) -> None:
    """Have a streaming response of Django's end with the credential of its request.

    What is not authenticated is left alone.
    """
    credential = registered_reader(request) if response.streaming else None
    if credential is not None and getattr(response, "is_async", False):
        streaming: Any = response
        streaming.streaming_content = watched_chunks(credential, aiter(streaming.streaming_content))


async def watched_chunks(credential: Credential, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks. The end of the credential cuts the connection: a download has no event that could say so."""
    me = asyncio.current_task()
    assert me is not None

    def cut() -> None:
        me.cancel()

    with watched(credential, cut):
        async for chunk in chunks:
            yield chunk


def look_at(user_id: UUID | None) -> None:
    """Have every event loop ask about this user's credentials now; None: about all. May be called from any thread."""
    for loop, watch in list(watches_by_loop.items()):
        if watch.viewers:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_note, watch, user_id)


def _note(watch: _Watch, user_id: UUID | None) -> None:
    watch.changed.update([user_id] if user_id is not None else [one.user_id for one in watch.credential_refs()])
    watch.wake.set()
