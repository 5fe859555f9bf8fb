"""The vendor calls that run in this process: their heartbeats, and settlements that nothing can interrupt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings

from agents.token_estimates import BYTES_PER_TOKEN
from aiagents.core.errors import AppError, Unavailable
from aiagents.core.live import outage_heartbeat
from aiagents.core.logs.context import call_id as current_call
from billing.ledger import service as ledger

logger = logging.getLogger(__name__)
# Seconds between two tries to settle while the database is away, and how long the caller waits for the receipt.
_RETRY_EVERY = 0.5
_CALLER_WAITS = 3.0


class Running:
    """What one call has produced so far; `seen_bytes` is raised by the door with every delta."""

    __slots__ = ("call_id", "reported", "seen_bytes")

    def __init__(self, call_id: UUID) -> None:
        self.call_id = call_id
        self.seen_bytes = 0
        self.reported = 0

    @property
    def output_tokens(self) -> int:
        """Our own count, for progress and for the estimate when the vendor reports nothing."""
        return -(-self.seen_bytes // BYTES_PER_TOKEN)


class _Loop:
    """The running calls of one event loop and the task that reports them."""

    def __init__(self) -> None:
        self.calls: dict[UUID, Running] = {}
        self.settlements: set[asyncio.Task[ledger.Charge | None]] = set()
        self.reporter: asyncio.Task[None] | None = None


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


def _here() -> _Loop:
    return _loops.setdefault(asyncio.get_running_loop(), _Loop())


def begin(call_id: UUID) -> Running:
    """Register a call that holds money; from now on its hold is kept alive."""
    here = _here()
    running = here.calls[call_id] = Running(call_id)
    if here.reporter is None or here.reporter.done():
        here.reporter = asyncio.create_task(_report(here))
    current_call.set(str(call_id))  # from now on it stands on the log lines of whoever makes the call
    return running


def tokens_so_far() -> int:
    """Output tokens, by our own count, of all calls that run in this process."""
    return sum(call.output_tokens for loop in list(_loops.values()) for call in list(loop.calls.values()))


def end(call_id: UUID) -> None:
    """The call's hold was closed elsewhere: stop reporting it."""
    _here().calls.pop(call_id, None)


async def acquire(opening: Coroutine[None, None, ledger.Held]) -> ledger.Held:
    """The hold that `opening` makes. A caller cancelled meanwhile leaves no money held: it is given back unused."""
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        here = _here()
        give_back = asyncio.create_task(_give_back(here, task))
        here.settlements.add(give_back)
        give_back.add_done_callback(here.settlements.discard)
        raise


def count() -> int:
    """Calls running or being settled on this loop."""
    here = _here()
    return len(here.calls) + len(here.settlements)


async def settle(held: ledger.Held, outcome: ledger.Outcome) -> ledger.Charge | None:
    """The charge of an ended call. Survives the caller's cancellation and an absent database.

    None when the database did not answer in time: the settlement goes on behind, and the sweeper stands behind that.
    """
    here = _here()
    task = asyncio.create_task(_settle(here, held, outcome))
    here.settlements.add(task)
    task.add_done_callback(here.settlements.discard)
    done, _ = await asyncio.wait({task}, timeout=_CALLER_WAITS)
    return task.result() if done else None


async def finish_settlements() -> None:
    """Wait until nothing is being settled on this loop (shutdown, tests)."""
    while tasks := set(_here().settlements):
        await asyncio.gather(*tasks, return_exceptions=True)


async def _give_back(here: _Loop, opening: asyncio.Task[ledger.Held]) -> ledger.Charge | None:
    try:
        held = await opening
    except AppError:
        return None  # it was refused: nothing is held
    return await _settle(here, held, ledger.Outcome(status="cancelled", usage=None, finish_reason="cancelled", started=False, asked=False))


async def _settle(here: _Loop, held: ledger.Held, outcome: ledger.Outcome) -> ledger.Charge:
    try:
        while True:
            try:
                return await ledger.settle(held, outcome)
            except Unavailable:
                logger.warning("settlement_waits_for_database", extra={"call_id": str(held.call.call_id)})
                await asyncio.sleep(_RETRY_EVERY)
    finally:
        here.calls.pop(held.call.call_id, None)


async def _report(here: _Loop) -> None:
    """Once a second, one statement for all running calls: they live, and this is what they have produced."""
    last_full = 0.0
    loop = asyncio.get_running_loop()
    while here.calls:
        await asyncio.sleep(settings.PROGRESS_INTERVAL_SECONDS)
        # Every few seconds all of them, as a heartbeat; in between only those that moved.
        full = loop.time() - last_full > settings.HOLD_SILENCE_SECONDS / 4
        moved = {call.call_id: call.output_tokens for call in here.calls.values() if full or call.output_tokens != call.reported}
        if not moved:
            continue
        try:
            await outage_heartbeat.beat(ledger.progress(moved), ledger.ALIVE, here.calls, settings.HOLD_SILENCE_SECONDS)
        except Unavailable:
            continue
        if full:
            last_full = loop.time()
        for call_id, tokens in moved.items():
            if call_id in here.calls:
                here.calls[call_id].reported = tokens
