"""A run's events: written in batches by the worker that runs it, kept in Valkey, shown by any process.

One log for each run, over all its attempts and workers. A log that is lost costs the viewers the single events, never the
end: that is read from the row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from uuid import UUID

from django.conf import settings
from django.db import transaction

from agents import recorded
from agents.events import REWIND, Failed, Rewound, TextDelta, write
from agents.recorded import rewind_line
from aiagents.core import jsonio
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotFound, Unavailable
from aiagents.core.live import follow as live
from aiagents.core.live import liveness
from aiagents.core.live.event_log import EventLog, Line
from aiagents.core.logs import context
from aiagents.core.valkey.clients import AWAY
from tasks.models import ENDED, TaskRun
from tasks.runs import as_json as run_json

logger = logging.getLogger(__name__)
# Logs written by earlier versions have this key, too.
event_log = EventLog("chat:turn")
# Event ids of a task: the run's number times this, plus the event's place in the run.
PER_RUN = 1_000_000
_MOST_LINES = 2000


class Feed:
    """The events of one attempt, from `last` on."""

    def __init__(self, run_id: UUID, last: int, feeds: Feeds) -> None:
        self.run_id, self.last, self._feeds = run_id, last, feeds
        self.waiting: list[Line] = []
        # Only its first writer may make the log: one that was lost begins anew with whoever writes then.
        self.begins = last < 0
        self.done = False

    def add(self, kind: str, data: bytes) -> None:
        self.last += 1
        self.waiting.append((self.last, kind, data))
        self._feeds.news(self)


class Feeds:
    """All feeds of an event loop and the task that writes them."""

    def __init__(self) -> None:
        self._unwritten: dict[UUID, Feed] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self, run_id: UUID, last: int, *, first: bool) -> Feed:
        """A feed that goes on after `last`, or after what a worker that died has told beyond it."""
        if (feed := self._unwritten.get(run_id)) is not None:
            return feed
        if not first:
            try:
                last = max(last, await event_log.end_of(run_id))
            except AWAY:
                logger.warning("run_log_away", extra={"run_id": str(run_id)})
        return Feed(run_id, last, self)

    def news(self, feed: Feed) -> None:
        self._unwritten[feed.run_id] = feed
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(), name="task feeds")

    async def flushed(self, seconds: float = 10.0) -> None:
        """Return when all is written, or after a while."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        reached = loop.time()
        while self._unwritten:
            await asyncio.sleep(settings.TURN_LOG_BATCH_SECONDS)
            try:
                await self._write()
                reached = loop.time()
            except AWAY:
                if loop.time() - reached > liveness.LOG_PATIENCE_SECONDS:
                    self._unwritten = {id: feed for id, feed in self._unwritten.items() if not feed.done}
                await asyncio.sleep(liveness.VALKEY_RETRY_SECONDS)

    async def _write(self) -> None:
        batches = {id: (feed.waiting[:_MOST_LINES], feed.begins) for id, feed in self._unwritten.items() if feed.waiting}
        if batches:
            for id, end in (await event_log.write(batches)).items():
                feed, (lines, begun) = self._unwritten[id], batches[id]
                # The log is not there although it should be: it begins anew here. One that is ahead was told by another worker.
                feed.begins = end < 0 and not begun
                if not feed.begins:
                    del feed.waiting[: len(lines)]
            await self._forget_erased([id for id, (_, begun) in batches.items() if begun])
        self._unwritten = {id: feed for id, feed in self._unwritten.items() if feed.waiting}

    async def _forget_erased(self, begun: list[UUID]) -> None:
        """Delete logs that were begun just now although their task is erased. The rows go before the erasure deletes logs last."""
        if not begun:
            return
        try:
            gone = await in_db(_without_row, begun)
        except Unavailable:
            return
        for id in gone:
            self._unwritten[id].waiting.clear()
            await event_log.delete([id])


def close(run: TaskRun) -> None:
    """Tell the viewers of a run that ended without a worker, once the present transaction is committed."""
    kind, data = run_json.event(run)
    line = (run.last_seq, kind, data)

    def tell() -> None:
        try:
            event_log.close(run.id, line)
        except AWAY:
            logger.warning("run_log_away", extra={"run_id": str(run.id)})

    transaction.on_commit(tell)


# --- for viewers --------------------------------------------------------------------------------


def follow(run: TaskRun, after: int) -> AsyncGenerator[Line, None]:
    """The run's events after `after`, as they happen, always ending with its end. Read from the row where the log is gone.

    A viewer whose `after` is beyond what stands (a log that Valkey lost the end of) gets `message.rewind` first.
    """
    return live.follow(event_log, run.id, after, StoredRun(run.id))


class StoredRun(live.Stored):
    """A task's run; one that was deleted has ended."""

    def __init__(self, run_id: UUID) -> None:
        self.id = run_id

    async def rewind(self, after: int) -> Line | None:
        run = await in_db(_row, self.id)
        if run is not None and run.status in ENDED:
            rewound = by_row(run, after)
        else:
            rewound = await recorded.short_of(event_log, self.id, after)
        return None if rewound is None else rewind_line(rewound)

    async def ended(self) -> bool:
        return await in_db(_status, self.id) in (None, *ENDED)

    async def lines(self, after: int) -> list[Line] | None:
        run = await in_db(_row, self.id)
        if run is None:
            return [deleted(after + 1)]
        return from_row(run, after) if run.status in ENDED else None


def from_row(run: TaskRun, after: int) -> list[Line]:
    """An ended run without its log: told from the start its text in one piece, told from the middle its end alone."""
    kind, data = run_json.event(run)
    end = (max(run.last_seq, 0), kind, data)
    if (rewound := by_row(run, after)) is not None:
        return [rewind_line(rewound), end]
    if after >= 0 or not run.output:
        return [end]
    return [(0, *write(TextDelta(run.output))), (max(run.last_seq, 1), kind, data)]


def by_row(run: TaskRun, after: int) -> Rewound | None:
    """What stands of an ended run, for a viewer that says it has seen event `after`; None where that event stands."""
    return Rewound(run.last_seq - 1, len(run.output)) if 0 <= run.last_seq < after else None


def numbered(run: TaskRun, line: Line) -> Line:
    """The event with its id in the stream of all the task's runs."""
    seq, kind, data = line
    place = run.number * PER_RUN + min(seq, PER_RUN - 1)
    return place, kind, jsonio.dumps(jsonio.loads(data) | {"seq": place}) if kind == REWIND else data


def deleted(seq: int) -> Line:
    """The end of a stream whose task was deleted while a client followed it."""
    gone = NotFound("This task was deleted.").body(context.request_id.get())
    return seq, *write(Failed(gone["error"], {"message": None}))


def _row(run_id: UUID) -> TaskRun | None:
    return TaskRun.objects.select_related("task").filter(pk=run_id, task__deleted_at=None).first()


def _status(run_id: UUID) -> str | None:
    return TaskRun.objects.values_list("status", flat=True).filter(pk=run_id).first()


def _without_row(run_ids: Iterable[UUID]) -> list[UUID]:
    ids = list(run_ids)
    known = set(TaskRun.objects.filter(pk__in=ids).values_list("pk", flat=True))
    return [pk for pk in ids if pk not in known]
