"""The turns of this process (one registry per event loop): their heartbeats, their logs, and who may stop them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings

from aiagents.core.db.calls import in_db
from aiagents.core.errors import RateLimited, Unavailable
from aiagents.core.live import outage_heartbeat
from aiagents.core.valkey import clients as valkey
from aiagents.core.valkey.clients import AWAY
from chat.conversations import message_cache
from chat.turns import event_log
from chat.turns import store as turn_store
from chat.turns.turn import Turn

logger = logging.getLogger(__name__)
CONTROL = "chat:control"
# On the same channel, before ids of messages that were deleted.
FORGET = "forget:"
# Seconds: all running rows say at least this often that they live, however quiet their vendor is.
_HEARTBEAT = 5.0
# Seconds between two tries to reach a Valkey that is away, and how long an ended turn waits for it.
_PATIENCE = 1.0
_LINGER = 30.0
_MOST_LINES = 2000


def cancel_key(message_id: UUID) -> str:
    """Set with every cancellation, for an owner that is not listening at that moment."""
    return f"chat:cancel:{message_id}"


class Registry:
    def __init__(self) -> None:
        self.turns: dict[UUID, Turn] = {}
        self.starting: Counter[UUID] = Counter()
        self._unlogged: set[Turn] = set()
        # Ended turns of this process whose messages were deleted.
        self._forgotten: set[UUID] = set()
        self._news = asyncio.Event()
        # Set by viewers that wait for the log; and whether the last write of it failed.
        self._ahead, self._log_away = asyncio.Event(), False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.loose: set[asyncio.Task[Any]] = set()

    # --- turns ----------------------------------------------------------------------------------

    def running(self) -> list[Turn]:
        return [turn for turn in self.turns.values() if not turn.ended]

    def reserve(self, user_id: UUID) -> None:
        """A place for one more turn of this user, exact within the process; the database counts over all of them."""
        count = self.starting[user_id] + sum(turn.user_id == user_id and not turn.ended for turn in self.turns.values())
        if count >= settings.MAX_CONCURRENT_TURNS_PER_USER:
            raise RateLimited("Too many answers are being written for you; wait for one to end.", code="too_many_turns", retry_after=2)
        self.starting[user_id] += 1

    def unreserve(self, user_id: UUID) -> None:
        self.starting[user_id] -= 1
        if self.starting[user_id] <= 0:
            del self.starting[user_id]

    def add(self, turn: Turn) -> None:
        """Run it."""
        self.turns[turn.message_id] = turn
        turn.saved_at = asyncio.get_running_loop().time()
        turn.task = asyncio.create_task(turn.run(), name=f"turn {turn.message_id}")
        for name, work in (("report", self._report), ("log", self._log), ("listen", self._listen)):
            if name not in self._tasks or self._tasks[name].done():
                self._tasks[name] = asyncio.create_task(work(), name=f"chat {name}")

    def on_news(self, turn: Turn) -> None:
        if turn.message_id in self._forgotten:
            return
        self._unlogged.add(turn)
        self._news.set()

    def on_ahead(self) -> bool:
        """Write the log at once: a viewer waits for it. False where Valkey is away."""
        self._ahead.set()
        return not self._log_away

    def on_end(self, turn: Turn) -> None:
        self.spawn(self._retire(turn))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that nobody waits for, kept until it is done."""
        task = asyncio.create_task(work)
        self.loose.add(task)
        task.add_done_callback(self.loose.discard)
        return task

    async def _retire(self, turn: Turn) -> None:
        """Forget an ended turn once its row and its log can tell of it."""
        await turn.store_at_last()
        for _ in range(int(_LINGER / 0.05)):
            if turn.logged >= len(turn.lines) or turn.message_id in self._forgotten:
                break
            await asyncio.sleep(0.05)
        self._unlogged.discard(turn)
        self.turns.pop(turn.message_id, None)
        self._forgotten.discard(turn.message_id)
        turn.told.hush()

    # --- the row: partial text and heartbeat ----------------------------------------------------

    async def _report(self) -> None:
        while self.turns:
            await asyncio.sleep(settings.PROGRESS_INTERVAL_SECONDS)
            now = asyncio.get_running_loop().time()
            moved = [turn for turn in self.running() if len(turn.lines) - 1 > turn.saved or now - turn.saved_at >= _HEARTBEAT]
            if moved:
                written = [turn.written() for turn in moved]
                try:
                    await outage_heartbeat.beat(in_db(turn_store.progress, written), "chat", self.turns, turn_store.SILENCE_SECONDS)
                except Unavailable:
                    continue
                except Exception:
                    logger.exception("turn_progress_failed")
                    continue
                for turn, row in zip(moved, written, strict=True):
                    turn.saved, turn.saved_at = row.last_seq, now
            elif any(turn.unstored for turn in self.turns.values()):
                await outage_heartbeat.say("chat", self.turns, turn_store.SILENCE_SECONDS)

    # --- the log --------------------------------------------------------------------------------

    async def _log(self) -> None:
        """Follow every turn's list of lines into Valkey, in batches. While Valkey is away the list is the log."""
        while self.turns:
            try:
                await asyncio.wait_for(self._news.wait(), _PATIENCE)
            except TimeoutError:
                continue
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ahead.wait(), settings.TURN_LOG_BATCH_SECONDS)
            self._ahead.clear()
            try:
                await self._write()
                self._log_away = False
            except AWAY:
                self._log_away = True
                await asyncio.sleep(_PATIENCE)
            if self._unlogged:
                self._news.set()

    async def _write(self) -> None:
        batches = {}
        for turn in list(self._unlogged):
            lines = turn.lines[turn.logged : turn.logged + _MOST_LINES]
            if lines:
                batches[turn.message_id] = (lines, turn.logged == 0)
        if batches:
            for id, end in (await event_log.write(batches)).items():
                if written := self.turns.get(id):
                    written.log_reaches(min(end + 1, len(written.lines)))
            if gone := [id for id in batches if id in self._forgotten]:
                await self._delete_logs(gone)
        self._unlogged = {turn for turn in self._unlogged if turn.logged < len(turn.lines)}

    # --- control --------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Stop the turns that somebody stops in another process."""
        while not valkey.leaving():
            client = valkey.blocking_client()
            try:
                async with client.pubsub() as channel:
                    await channel.subscribe(CONTROL)
                    await self._missed()
                    if valkey.leaving():
                        return
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._control(message["data"].decode())
            except (*AWAY, ValueError):
                await asyncio.sleep(_PATIENCE)
            finally:
                await client.aclose()

    async def _missed(self) -> None:
        """What was stopped while we were not listening."""
        if turns := self.running():
            stopped = await valkey.client().mget([cancel_key(turn.message_id) for turn in turns])
            for turn, flag in zip(turns, stopped, strict=True):
                if flag:
                    turn.cancel()

    def _control(self, text: str) -> None:
        if text.startswith(FORGET):
            self.forget([UUID(id) for id in text.removeprefix(FORGET).split()])
        else:
            self.cancel(UUID(text))

    def forget(self, message_ids: list[UUID]) -> None:
        """Keep nothing of deleted messages, and write their logs no more."""
        message_cache.forget_here(message_ids)
        ours = [id for id in message_ids if id in self.turns]
        for id in ours:
            turn = self.turns[id]
            self._forgotten.add(id)
            self._unlogged.discard(turn)
            turn.log_reaches(len(turn.lines))
        if ours:
            # A batch may have been on its way while they were deleted.
            self.spawn(self._delete_logs(ours))

    async def _delete_logs(self, message_ids: list[UUID]) -> None:
        try:
            await valkey.client().delete(*map(event_log.key, message_ids))
        except AWAY:
            logger.warning("logs_not_deleted")

    def cancel(self, message_id: UUID) -> None:
        if turn := self.turns.get(message_id):
            turn.cancel()


_registries: WeakKeyDictionary[asyncio.AbstractEventLoop, Registry] = WeakKeyDictionary()


def here() -> Registry:
    """The running loop's registry."""
    loop = asyncio.get_running_loop()
    if loop not in _registries:
        _registries[loop] = Registry()
    return _registries[loop]


def running_everywhere() -> int:
    """How many turns are being written in this process, on all of its loops."""
    return sum(len(one.running()) for one in list(_registries.values()))
