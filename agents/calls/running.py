"""The attempts of model calls that run in this process: their events, heartbeats, log lines and settlements.

A settlement survives the cancellation of its caller.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Literal
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings

from agents import providers
from agents.calls import rules_log
from agents.events import Completed, Event, NativeAnswer, ReasoningDelta, RuleApplied, TextDelta, ToolCall, UsageReport
from agents.messages import BYTES_PER_TOKEN, CompletionRequest, EmbeddingRequest, byte_size
from agents.providers import transport
from agents.providers.base import Target
from agents.providers.errors import ProviderError
from agents.providers.native import without_tools
from agents.routing import health
from agents.routing.rank import Candidate
from aiagents.core.errors import AppError, Unavailable
from aiagents.core.live import outage_heartbeat
from aiagents.core.logs.context import call_id as current_call
from aiagents.core.metrics import counting
from billing.ledger import service as ledger
from billing.pricing import Usage

logger = logging.getLogger(__name__)
_log = logging.getLogger("aiagents.calls")
# Seconds between two tries to settle while the database is unreachable; seconds that the caller waits for the charge.
_RETRY_SECONDS = 0.5
_CALLER_WAIT_SECONDS = 3.0
# Cuts off a vendor that ignores the output limit. The bytes per token are generous for every script.
_MOST_BYTES_PER_TOKEN = 6
_SLACK_BYTES = 1024
Status = Literal["ok", "failed", "cancelled", "interrupted"]


class Attempt:
    """A running call to one candidate, with its clock, hold and output. Ends in exactly one settlement.

    Heartbeats keep its hold alive until then.
    """

    __slots__ = (
        "all_at_once", "began", "candidate", "closed", "completed", "first_at", "held", "reported", "seen_bytes", "sent", "target",
        "unknown_fields", "usage", "written",
    )  # fmt: skip

    def __init__(self, candidate: Candidate, target: Target, held: ledger.Held) -> None:
        self.candidate, self.target, self.held = candidate, target, held
        # Output so far, and the tokens of it that the last heartbeat reported.
        self.seen_bytes = self.reported = 0
        self.began = time.monotonic()
        self.first_at: float | None = None
        self.usage: Usage | None = None
        self.completed: Completed | None = None
        self.closed = False
        self.all_at_once = False
        # The vendor wrote a whole answer, and the connection broke before all of it arrived.
        self.written = False
        self.unknown_fields: tuple[str, ...] = ()
        self.sent = transport.Sent()
        _begin(self)

    @property
    def started(self) -> bool:
        """True once the caller has seen output of this vendor: from then on no other model may answer."""
        return self.first_at is not None

    @property
    def output_tokens(self) -> int:
        """Our own estimate, for progress and for the charge when the vendor reports no usage."""
        return -(-self.seen_bytes // BYTES_PER_TOKEN)

    @property
    def ttft_ms(self) -> int | None:
        return None if self.first_at is None else round((self.first_at - self.began) * 1000)

    async def events(self, request: CompletionRequest | EmbeddingRequest, *, whole: bool) -> AsyncGenerator[Event, None]:
        """Yield the vendor's events for the caller; keep usage and the end of the answer on the attempt."""
        most = self.candidate.output_tokens * _MOST_BYTES_PER_TOKEN + _SLACK_BYTES
        cut = False
        transport.sent.set(self.sent)
        async with aclosing(self._vendor_events(request, whole)) as upstream:
            async for event in upstream:
                if isinstance(event, TextDelta | ReasoningDelta):
                    self.seen_bytes += byte_size(event.text)
                elif isinstance(event, ToolCall):
                    self.seen_bytes += byte_size(event.name) + byte_size(event.arguments)
                elif isinstance(event, NativeAnswer):
                    self.seen_bytes += event.output_bytes
                elif isinstance(event, UsageReport):
                    self.usage = event.usage
                    continue
                elif isinstance(event, RuleApplied):
                    await rules_log.record(self.candidate.card.slug, event.rule, event.message, repeated=True)
                    continue
                elif isinstance(event, Completed):
                    self.completed = replace(event, finish_reason="length") if cut else event
                    self.usage = event.usage if event.usage is not None else self.usage
                    if self.first_at is None:
                        event = TextDelta("")  # an empty answer is an answer, too: the caller sees it start
                    else:
                        continue
                if self.first_at is None:
                    self.first_at = time.monotonic()
                yield event
                cut = self.seen_bytes > most
                if cut and not whole:
                    # We close the vendor's connection, so its counts so far are not final.
                    self.completed = Completed("length", None)
                    return

    def _vendor_events(self, request: CompletionRequest | EmbeddingRequest, whole: bool) -> AsyncGenerator[Event, None]:
        provider = providers.provider(self.candidate.card.provider)
        if isinstance(request, EmbeddingRequest):
            self.all_at_once = True
            return provider.embed(request, self.target)
        self.all_at_once = whole
        self.unknown_fields = request.priced.unknown
        ours = request.max_output_tokens is not None or self.candidate.limited_by
        limited = replace(request, max_output_tokens=self.candidate.output_tokens) if ours else request
        if limited.native is not None and self.candidate.dropped:
            limited = replace(limited, native=without_tools(limited.native, self.candidate.dropped))
        return provider.whole(limited, self.target) if whole else provider.stream(limited, self.target)

    def outcome(self, status: Status, error: AppError | None = None) -> ledger.Outcome:
        """Return the attempt as the ledger settles it."""
        ended = {"ok": "stop", "cancelled": "cancelled"}.get(status, "error")
        return ledger.Outcome(
            status=status,
            usage=self.usage,
            output_tokens_seen=self.output_tokens,
            finish_reason=self.completed.finish_reason if self.completed else ended,
            error_code=error.code if error else "",
            latency_ms=round((time.monotonic() - self.began) * 1000),
            ttft_ms=self.ttft_ms,
            # Vectors and whole answers arrive all at once. A caller that disconnects earlier pays the estimate:
            # the vendor may have made them already.
            started=self.started
            or self.usage is not None
            or self.written
            or (self.all_at_once and self.sent.done and status in ("cancelled", "interrupted")),
            request_sent=self.sent.done or self.started or self.usage is not None,
            unknown_fields=self.unknown_fields,
            # Some vendors report the input first and the growing output later: such a count is final only at the end.
            partial=self.usage is not None and (self.completed is None or self.completed.usage is None),
        )

    def broken_off(self, error: ProviderError) -> None:
        """Note that a whole answer broke off on its way: the bytes received are the least that the vendor wrote."""
        self.written = True
        received = error.details.get("received_bytes")
        if isinstance(received, int) and self.candidate.output_tokens:  # an embedding model writes no tokens
            self.seen_bytes = max(self.seen_bytes, received)

    async def settle(self, outcome: ledger.Outcome) -> ledger.Charge:
        """Settle the attempt and return its charge. Survives cancellation.

        While the database is unreachable this returns the charge that the settlement will write.
        """
        self.closed = True
        return await settle(self.held, outcome) or ledger.charge(self.held, outcome)

    def record_health(self, error: ProviderError | None) -> None:
        """Record the candidate's speed, or its failure, in the router's health."""
        seconds = time.monotonic() - (self.first_at or self.began)
        counted = self.usage is not None and "output_tokens" not in self.usage.missing
        output = self.usage.output_tokens if self.usage and counted else self.output_tokens
        card = self.candidate.card
        connection = health.connection_key(card)
        health.record(card.slug, connection, ok=error is None, ttft_ms=self.ttft_ms, output_tokens=output, seconds=seconds, error=error)


class _Loop:
    """The running calls of one event loop and the task that reports them."""

    def __init__(self) -> None:
        self.calls: dict[UUID, Attempt] = {}
        self.settlements: set[asyncio.Task[ledger.Charge | None]] = set()
        self.reporter: asyncio.Task[None] | None = None


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


def _state_of_loop() -> _Loop:
    return _loops.setdefault(asyncio.get_running_loop(), _Loop())


def _begin(attempt: Attempt) -> None:
    state, call_id = _state_of_loop(), attempt.held.call.call_id
    state.calls[call_id] = attempt
    if state.reporter is None or state.reporter.done():
        state.reporter = asyncio.create_task(_report(state))
    current_call.set(str(call_id))  # the caller's log lines carry it from now on


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
        grown = {
            call_id: attempt.output_tokens for call_id, attempt in state.calls.items() if full or attempt.output_tokens != attempt.reported
        }
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
