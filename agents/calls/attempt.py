"""One attempt of the door: a candidate, the money held for it, the vendor's events, and its settlement."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Literal

from agents import providers, token_estimates
from agents.calls import running as running_calls
from agents.events import Completed, Event, ReasoningDelta, TextDelta, ToolCall, UsageReport
from agents.messages import CompletionRequest, EmbeddingRequest
from agents.providers import transport
from agents.providers.base import Target
from agents.providers.errors import ProviderError
from agents.routing import health
from agents.routing.rank import Candidate
from aiagents.core.errors import AppError
from billing.ledger import service as ledger
from billing.usage import Usage

Status = Literal["ok", "failed", "cancelled", "interrupted"]
# A vendor that ignores the limit on its output is cut here: bytes per token allowed, generous for every script.
_MOST_BYTES_PER_TOKEN = 6
_SLACK_BYTES = 1024


class Attempt:
    """One candidate being called: its clock, its hold, what came so far. Ends in exactly one settlement."""

    __slots__ = (
        "began", "candidate", "closed", "completed", "first_at", "held", "running", "sent", "target", "unheard", "usage", "written",
    )  # fmt: skip

    def __init__(self, candidate: Candidate, target: Target, held: ledger.Held) -> None:
        self.candidate, self.target, self.held = candidate, target, held
        self.running = running_calls.begin(held.call.call_id)
        self.began = time.monotonic()
        self.first_at: float | None = None
        self.usage: Usage | None = None
        self.completed: Completed | None = None
        self.closed = False
        self.unheard = False
        # A whole answer was written, and broke off on its way to us.
        self.written = False
        self.sent = transport.Sent()

    @property
    def started(self) -> bool:
        """The vendor has sent something that the caller has seen: no other model may speak now."""
        return self.first_at is not None

    @property
    def ttft_ms(self) -> int | None:
        return None if self.first_at is None else round((self.first_at - self.began) * 1000)

    async def events(self, request: CompletionRequest | EmbeddingRequest, *, whole: bool) -> AsyncGenerator[Event, None]:
        """The vendor's events that a caller may see; usage and the end are noted here."""
        running, most = self.running, self.candidate.output_tokens * _MOST_BYTES_PER_TOKEN + _SLACK_BYTES
        cut = False
        transport.sent.set(self.sent)
        async with aclosing(self._asked(request, whole)) as upstream:
            async for event in upstream:
                if isinstance(event, TextDelta | ReasoningDelta):
                    running.seen_bytes += token_estimates.size(event.text)
                elif isinstance(event, ToolCall):
                    running.seen_bytes += token_estimates.size(event.name) + token_estimates.size(event.arguments)
                elif isinstance(event, UsageReport):
                    self.usage = event.usage
                    continue
                elif isinstance(event, Completed):
                    self.completed = replace(event, finish_reason="length") if cut else event
                    self.usage = event.usage if event.usage is not None else self.usage
                    if self.first_at is None:
                        event = TextDelta("")  # an empty answer is an answer: the caller is told that it started
                    else:
                        continue
                if self.first_at is None:
                    self.first_at = time.monotonic()
                yield event
                cut = running.seen_bytes > most
                if cut and not whole:
                    # The vendor is hung up on. What it counted so far is not its last count.
                    self.completed = Completed("length", None)
                    return

    def _asked(self, request: CompletionRequest | EmbeddingRequest, whole: bool) -> AsyncGenerator[Event, None]:
        provider = providers.provider(self.candidate.card.provider)
        if isinstance(request, EmbeddingRequest):
            self.unheard = True
            return provider.embed(request, self.target)
        self.unheard = whole
        asked = replace(request, max_output_tokens=self.candidate.output_tokens)
        return provider.whole(asked, self.target) if whole else provider.stream(asked, self.target)

    def outcome(self, status: Status, error: AppError | None = None) -> ledger.Outcome:
        """What the ledger is told about this attempt."""
        ended = {"ok": "stop", "cancelled": "cancelled"}.get(status, "error")
        return ledger.Outcome(
            status=status,
            usage=self.usage,
            output_tokens_seen=self.running.output_tokens,
            finish_reason=self.completed.finish_reason if self.completed else ended,
            error_code=error.code if error else "",
            latency_ms=round((time.monotonic() - self.began) * 1000),
            ttft_ms=self.ttft_ms,
            # Vectors and whole answers come all at once: who hangs up before cannot know that nothing was made, and pays the estimate.
            started=self.started
            or self.usage is not None
            or self.written
            or (self.unheard and self.sent.done and status in ("cancelled", "interrupted")),
            asked=self.sent.done or self.started or self.usage is not None,
            # Some vendors count the input first and the output as it grows: such a count is final only with the end.
            partial=self.usage is not None and (self.completed is None or self.completed.usage is None),
        )

    def broken_off(self, error: ProviderError) -> None:
        """A whole answer was written and did not arrive whole: what came of it is the least that was written."""
        self.written = True
        received = error.details.get("received_bytes")
        if isinstance(received, int) and self.candidate.output_tokens:  # an embedding model writes no tokens
            self.running.seen_bytes = max(self.running.seen_bytes, received)

    async def settle(self, outcome: ledger.Outcome) -> ledger.Charge:
        """Pay for what was used. Cannot be interrupted; with the database away the charge is what it will be."""
        self.closed = True
        return await running_calls.settle(self.held, outcome) or ledger.charge(self.held, outcome)

    def measured(self, error: ProviderError | None) -> None:
        """Tell the router's health how this candidate did."""
        seconds = time.monotonic() - (self.first_at or self.began)
        counted = self.usage is not None and "output_tokens" not in self.usage.missing
        output = self.usage.output_tokens if self.usage and counted else self.running.output_tokens
        card = self.candidate.card
        connection = health.connection_key(card)
        health.record(card.slug, connection, ok=error is None, ttft_ms=self.ttft_ms, output_tokens=output, seconds=seconds, error=error)
