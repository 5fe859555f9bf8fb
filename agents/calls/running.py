"""The vendor calls that run in this process: heartbeats, settlements that survive cancellation, metrics and log lines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings

from agents.messages import BYTES_PER_TOKEN
from aiagents.core.errors import AppError, Unavailable
from aiagents.core.live import outage_heartbeat
from aiagents.core.logs.context import call_id as current_call
from aiagents.core.metrics import counting
from billing.ledger import service as ledger

logger = logging.getLogger(__name__)
_log = logging.getLogger("aiagents.calls")
# Seconds between two tries to settle while the database is unreachable; seconds that the caller waits for the charge.
_RETRY_SECONDS = 0.5
_CALLER_WAIT_SECONDS = 3.0


class Running:
    """Output of one call so far. The attempt raises `seen_bytes` with every delta."""

    __slots__ = ("call_id", "reported", "seen_bytes")

    def __init__(self, call_id: UUID) -> None:
        self.call_id = call_id
        self.seen_bytes = 0
        self.reported = 0

    @property
    def output_tokens(self) -> int:
        """Our own estimate, for progress and for the charge when the vendor reports no usage."""
        return -(-self.seen_bytes // BYTES_PER_TOKEN)


class _Loop:
    """The running calls of one event loop and the task that reports them."""

    def __init__(self) -> None:
        self.calls: dict[UUID, Running] = {}
        self.settlements: set[asyncio.Task[ledger.Charge | None]] = set()
        self.reporter: asyncio.Task[None] | None = None


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


def _state_of_loop() -> _Loop:
    return _loops.setdefault(asyncio.get_running_loop(), _Loop())


def begin(call_id: UUID) -> Running:
    """Register a call that has a hold. Heartbeats keep the hold alive until the settlement."""
    state = _state_of_loop()
    running = state.calls[call_id] = Running(call_id)
    if state.reporter is None or state.reporter.done():
        state.reporter = asyncio.create_task(_report(state))
    current_call.set(str(call_id))  # the caller's log lines carry it from now on
    return running


def tokens_so_far() -> int:
    """Output tokens, by our own estimate, of all calls that run in this process."""
    return sum(call.output_tokens for loop in list(_loops.values()) for call in list(loop.calls.values()))


def end(call_id: UUID) -> None:
    """Stop the heartbeats of a call whose hold was closed elsewhere."""
    _state_of_loop().calls.pop(call_id, None)


async def acquire(opening: Coroutine[None, None, ledger.Held]) -> ledger.Held:
    """Return the hold that `opening` makes. If the caller is cancelled meanwhile, release it unused."""
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        state = _state_of_loop()
        release = asyncio.create_task(_release(state, task))
        state.settlements.add(release)
        release.add_done_callback(state.settlements.discard)
        raise


def count() -> int:
    """Calls that run or settle on this event loop."""
    state = _state_of_loop()
    return len(state.calls) + len(state.settlements)


async def settle(held: ledger.Held, outcome: ledger.Outcome) -> ledger.Charge | None:
    """Settle an ended call and return its charge, or None if the database does not answer within 3 s.

    A cancelled caller or an unreachable database does not end it: the settlement continues in the background.
    The sweeper settles what this process does not finish.
    """
    state = _state_of_loop()
    task = asyncio.create_task(_settle(state, held, outcome))
    state.settlements.add(task)
    task.add_done_callback(state.settlements.discard)
    done, _ = await asyncio.wait({task}, timeout=_CALLER_WAIT_SECONDS)
    return task.result() if done else None


async def finish_settlements() -> None:
    """Wait for all settlements on this event loop (shutdown, tests)."""
    while tasks := set(_state_of_loop().settlements):
        await asyncio.gather(*tasks, return_exceptions=True)


def record(call: ledger.Call, outcome: ledger.Outcome, charge: ledger.Charge | None) -> None:
    """Count a settled vendor call, and log it with the ids of its request.

    `charge` is None when the next attempt took over its hold.
    """
    usage = charge.usage if charge else outcome.usage
    counting.call(
        call.provider, call.model, outcome.status, usage.input_tokens if usage else 0, usage.output_tokens if usage else 0,
        charge.cost_usd if charge else 0,
    )  # fmt: skip
    level = logging.DEBUG if outcome.status == "ok" else logging.INFO if outcome.status == "cancelled" else logging.WARNING
    if _log.isEnabledFor(level):
        fields = {
            "call_id": str(call.call_id), "request_id": call.request_id, "user_id": str(call.user_id), "model": call.model,
            "provider": call.provider, "status": outcome.status, "code": outcome.error_code, "ms": outcome.latency_ms,
            "purpose": call.purpose, "surface": call.surface, "attempt": call.attempt,
        }  # fmt: skip
        if call.task_id is not None:
            fields["task"] = str(call.task_id)
        _log.log(level, "model_call", extra={"fields": fields})


async def _release(state: _Loop, opening: asyncio.Task[ledger.Held]) -> ledger.Charge | None:
    try:
        held = await opening
    except AppError:
        return None  # the ledger refused it, so there is no hold
    outcome = ledger.Outcome(status="cancelled", usage=None, finish_reason="cancelled", started=False, request_sent=False)
    return await _settle(state, held, outcome)


async def _settle(state: _Loop, held: ledger.Held, outcome: ledger.Outcome) -> ledger.Charge:
    try:
        while True:
            try:
                return await ledger.settle(held, outcome)
            except Unavailable:
                logger.warning("settlement_waits_for_database", extra={"call_id": str(held.call.call_id)})
                await asyncio.sleep(_RETRY_SECONDS)
    finally:
        state.calls.pop(held.call.call_id, None)


async def _report(state: _Loop) -> None:
    """Write heartbeats and progress of all running calls, in one statement a second."""
    last_full = 0.0
    loop = asyncio.get_running_loop()
    while state.calls:
        await asyncio.sleep(settings.PROGRESS_INTERVAL_SECONDS)
        # Every few seconds all calls, as a heartbeat; in between only those with new output.
        full = loop.time() - last_full > settings.HOLD_SILENCE_SECONDS / 4
        grown = {call.call_id: call.output_tokens for call in state.calls.values() if full or call.output_tokens != call.reported}
        if not grown:
            continue
        try:
            await outage_heartbeat.beat(ledger.progress(grown), ledger.ALIVE, state.calls, settings.HOLD_SILENCE_SECONDS)
        except Unavailable:
            continue
        if full:
            last_full = loop.time()
        for call_id, tokens in grown.items():
            if call_id in state.calls:
                state.calls[call_id].reported = tokens
