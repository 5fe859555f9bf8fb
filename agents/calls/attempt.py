"""One attempt of a model call: a candidate, its hold, the vendor's events and the settlement."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Literal

from agents import providers
from agents.calls import running as running_calls
from agents.events import Completed, Event, ReasoningDelta, TextDelta, ToolCall, UsageReport
from agents.messages import CompletionRequest, EmbeddingRequest, byte_size
from agents.providers import transport
from agents.providers.base import Target
from agents.providers.errors import ProviderError
from agents.routing import health
from agents.routing.rank import Candidate
from aiagents.core.errors import AppError
from billing.ledger import service as ledger
from billing.pricing import Usage

Status = Literal["ok", "failed", "cancelled", "interrupted"]
# Cuts off a vendor that ignores the output limit. The bytes per token are generous for every script.
_MOST_BYTES_PER_TOKEN = 6
_SLACK_BYTES = 1024


class Attempt:
    """A running call to one candidate, with its clock, hold and output. Ends in exactly one settlement."""

    __slots__ = (
        "all_at_once", "began", "candidate", "closed", "completed", "first_at", "held", "running", "sent", "target", "usage", "written",
    )  # fmt: skip

    def __init__(self, candidate: Candidate, target: Target, held: ledger.Held) -> None:
        self.candidate, self.target, self.held = candidate, target, held
        self.running = running_calls.begin(held.call.call_id)
        self.began = time.monotonic()
        self.first_at: float | None = None
        self.usage: Usage | None = None
        self.completed: Completed | None = None
        self.closed = False
        self.all_at_once = False
        # The vendor wrote a whole answer, and the connection broke before all of it arrived.
        self.written = False
        self.sent = transport.Sent()

    @property
    def started(self) -> bool:
        """True once the caller has seen output of this vendor: from then on no other model may answer."""
        return self.first_at is not None

    @property
    def ttft_ms(self) -> int | None:
        return None if self.first_at is None else round((self.first_at - self.began) * 1000)

    async def events(self, request: CompletionRequest | EmbeddingRequest, *, whole: bool) -> AsyncGenerator[Event, None]:
        """Yield the vendor's events for the caller; keep usage and the end of the answer on the attempt."""
        running, most = self.running, self.candidate.output_tokens * _MOST_BYTES_PER_TOKEN + _SLACK_BYTES
        cut = False
        transport.sent.set(self.sent)
        async with aclosing(self._vendor_events(request, whole)) as upstream:
            async for event in upstream:
                if isinstance(event, TextDelta | ReasoningDelta):
                    running.seen_bytes += byte_size(event.text)
                elif isinstance(event, ToolCall):
                    running.seen_bytes += byte_size(event.name) + byte_size(event.arguments)
                elif isinstance(event, UsageReport):
                    self.usage = event.usage
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
                cut = running.seen_bytes > most
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
        limited = replace(request, max_output_tokens=self.candidate.output_tokens)
        return provider.whole(limited, self.target) if whole else provider.stream(limited, self.target)

    def outcome(self, status: Status, error: AppError | None = None) -> ledger.Outcome:
        """Return the attempt as the ledger settles it."""
        ended = {"ok": "stop", "cancelled": "cancelled"}.get(status, "error")
        return ledger.Outcome(
            status=status,
            usage=self.usage,
            output_tokens_seen=self.running.output_tokens,
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
            # Some vendors report the input first and the growing output later: such a count is final only at the end.
            partial=self.usage is not None and (self.completed is None or self.completed.usage is None),
        )

    def broken_off(self, error: ProviderError) -> None:
        """Note that a whole answer broke off on its way: the bytes received are the least that the vendor wrote."""
        self.written = True
        received = error.details.get("received_bytes")
        if isinstance(received, int) and self.candidate.output_tokens:  # an embedding model writes no tokens
            self.running.seen_bytes = max(self.running.seen_bytes, received)

    async def settle(self, outcome: ledger.Outcome) -> ledger.Charge:
        """Settle the attempt and return its charge. Survives cancellation.

        While the database is unreachable this returns the charge that the settlement will write.
        """
        self.closed = True
        return await running_calls.settle(self.held, outcome) or ledger.charge(self.held, outcome)

    def record_health(self, error: ProviderError | None) -> None:
        """Record the candidate's speed, or its failure, in the router's health."""
        seconds = time.monotonic() - (self.first_at or self.began)
        counted = self.usage is not None and "output_tokens" not in self.usage.missing
        output = self.usage.output_tokens if self.usage and counted else self.running.output_tokens
        card = self.candidate.card
        connection = health.connection_key(card)
        health.record(card.slug, connection, ok=error is None, ttft_ms=self.ttft_ms, output_tokens=output, seconds=seconds, error=error)
