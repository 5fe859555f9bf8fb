"""THE DOOR: every token that is bought passes through `stream`.

Rank the models, hold the money, call the vendor, pass its events on, settle. Before the first token a failure
moves on to the next candidate; after it, it is the caller's to know. Whatever happens, each vendor call ends in
exactly one settlement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.authentication import Principal
from agents import token_estimates
from agents.calls import record
from agents.calls import running as running_calls
from agents.calls.attempt import Attempt, Status
from agents.events import Event, ReasoningDelta, RouteFallback, Settled, Started, TextDelta, ToolCall, Vectors
from agents.messages import CompletionRequest, EmbeddingRequest, characters
from agents.providers.base import Target
from agents.providers.errors import ContextTooLong, ProviderBadRequest, ProviderError, ProviderTimeout, ProviderTruncated, passed_on
from agents.routing import connections, health
from agents.routing import embeddings as router_embeddings
from agents.routing import rank as router
from agents.routing.difficulty import difficulty
from aiagents.core.errors import AppError, BudgetExceeded, NoModelAvailable, PayloadTooLarge
from aiagents.core.ids import uuid7
from aiagents.core.metrics import counters as metrics
from billing import pricing
from billing.catalogue import snapshot as catalogue
from billing.ledger import service as ledger
from billing.usage import Usage


@dataclass(frozen=True, slots=True)
class CallContext:
    """On whose account, for what, and which model. `group_id` ties the calls of one request together."""

    principal: Principal
    purpose: str
    surface: str
    request_id: str
    group_id: UUID
    requested_model: str = "auto"
    goal: str = ""
    fallbacks: tuple[str, ...] = ()
    max_cost_usd: Decimal | None = None
    sticky: str | None = None
    conversation_id: UUID | None = None
    message_id: UUID | None = None
    agent_id: UUID | None = None
    task_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer, for callers that do not stream."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    settled: Settled


class PromptTooLarge(PayloadTooLarge):
    """`details` holds the limit, in characters."""

    code = "prompt_too_large"
    message = "The text and attachments of this model call are too large together."


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vectors of an embedding call, in the order of its inputs; each as events.Vectors has it."""

    vectors: list[bytes]
    settled: Settled


async def stream(
    request: CompletionRequest | EmbeddingRequest,
    context: CallContext,
    receipts: list[Settled] | None = None,
    *,
    whole: bool = False,
) -> AsyncGenerator[Event, None]:
    """The events of one routed, paid model call: RouteFallback*, Started, deltas and tool calls, Settled last.

    Raises an AppError after the call was settled; `receipts` gets every settlement, also when the consumer closes
    the generator or is cancelled. `whole`: the caller does not show text as it comes, so the vendor is asked for one
    JSON answer, which costs both sides less. An EmbeddingRequest gets Vectors in place of deltas.
    """
    route, input_tokens = await _rank(request, context)
    walk = _Walk(context, route, input_tokens, [] if receipts is None else receipts)
    try:
        while True:
            attempt = await walk.next_attempt()
            try:
                async with aclosing(attempt.events(request, whole=whole)) as events:
                    said = False
                    async for event in events:
                        if not said:
                            said = True
                            call = attempt.held.call
                            yield Started(call.call_id, call.model, call.provider, walk.explained(call.model))
                        yield event
            except ProviderError as exc:
                attempt.measured(exc)
                fallback = await walk.after_failure(exc)  # raises when it is over
            else:
                attempt.measured(None)
                yield await walk.settle("ok")
                return
            metrics.FALLBACKS.inc()
            yield fallback
            await asyncio.sleep(walk.delay)
    except AppError:
        await walk.abandon("failed")
        raise
    except BaseException as exc:  # cancelled, or the consumer closed us: the money is settled all the same
        gone = isinstance(exc, asyncio.CancelledError | GeneratorExit)
        await walk.abandon(("interrupted" if "interrupted" in exc.args else "cancelled") if gone else "failed")
        raise


async def complete(request: CompletionRequest, context: CallContext, receipts: list[Settled] | None = None) -> Completion:
    """The whole answer of one call; errors as `stream`."""
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    async with aclosing(stream(request, context, receipts, whole=True)) as events:
        async for event in events:
            match event:
                case TextDelta():
                    text.append(event.text)
                case ReasoningDelta():
                    reasoning.append(event.text)
                case ToolCall():
                    calls.append(event)
                case Settled():
                    return Completion("".join(text), "".join(reasoning), tuple(calls), event)
    raise AssertionError("stream ends with Settled or raises")


async def embed(request: EmbeddingRequest, context: CallContext, receipts: list[Settled] | None = None) -> Embedding:
    """The vectors of one paid embedding call; errors as `stream`. `context` names the model: there is no `auto`."""
    found: list[bytes] = []
    async with aclosing(stream(request, context, receipts)) as events:
        async for event in events:
            match event:
                case Vectors():
                    found = event.values
                case Settled():
                    return Embedding(found, event)
    raise AssertionError("stream ends with Settled or raises")


async def preview(request: CompletionRequest, context: CallContext) -> dict[str, Any]:
    """Which model would be called, every candidate with its probability, cost, time and value, and why. Nothing is called."""
    route, input_tokens = await _rank(request, context)
    return {**route.explanation, "input_tokens": input_tokens}


async def _rank(request: CompletionRequest | EmbeddingRequest, context: CallContext) -> tuple[router.Route, int]:
    cards = await catalogue.current()
    if isinstance(request, EmbeddingRequest):
        input_tokens = token_estimates.estimate_embedding(request)
        wanted = router_embeddings.Wanted(request, context.requested_model, context.fallbacks, context.max_cost_usd, input_tokens)
        return router_embeddings.rank(wanted, cards.cards, await connections.configured()), input_tokens
    # Images and files count for a few tokens each, so no model's window bounds what a vendor's body would be made of.
    if characters(request) > settings.MAX_PROMPT_CHARACTERS:
        raise PromptTooLarge(details={"max_characters": settings.MAX_PROMPT_CHARACTERS})
    input_tokens = token_estimates.estimate_input(request)
    chosen = router.weighs(context.requested_model, context.fallbacks)
    facts = router.Facts(
        requested=context.requested_model,
        goal=context.goal or context.principal.user.goal,
        needs=request.needs(),
        input_tokens=input_tokens,
        max_output_tokens=request.max_output_tokens,
        fallbacks=context.fallbacks,
        max_cost_usd=context.max_cost_usd,
        sticky=context.sticky,
        difficulty=difficulty(request) if chosen else 0.5,
    )
    return router.rank(facts, cards.cards, health.snapshot(), await connections.configured()), input_tokens


class _Walk:
    """The way of one call through its candidates: which is next, what was tried, what is held."""

    def __init__(self, context: CallContext, route: router.Route, input_tokens: int, receipts: list[Settled]) -> None:
        self.context, self.route, self.input_tokens, self.receipts = context, route, input_tokens, receipts
        self.candidates = list(route.candidates)
        self.index = 0
        self.number = 0
        self.delay = 0.0
        self.tried: list[dict[str, Any]] = []
        self.attempt: Attempt | None = None
        self.failure: ProviderError | None = None

    def explained(self, model: str) -> dict[str, Any]:
        """The stored reason: the router's, which model answered in the end, and what was tried before it."""
        return {**self.route.explanation, "model": model, "tried": list(self.tried)}

    async def next_attempt(self) -> Attempt:
        """The next candidate with its money held: freshly, or taken over from the attempt that failed."""
        self.number += 1
        if self.attempt is None:
            await self._skip_probed()
            candidate, target, held = await self._hold()
        else:
            candidate, target = self.candidates[self.index], await self._target(self.index)
            failed, call = self.attempt, self._call(candidate, target)
            outcome = failed.outcome("failed", self.failure)
            held = await running_calls.acquire(ledger.reattempt(failed.held, outcome, call, _rates(candidate)))
            failed.closed = True
            running_calls.end(failed.held.call.call_id)
            self._receive(failed, outcome, None)
        self.attempt = Attempt(candidate, target, held)
        return self.attempt

    async def after_failure(self, error: ProviderError) -> RouteFallback:
        """What is tried next. Raises when nothing is: the vendor's word to the caller, or NoModelAvailable with the list."""
        assert self.attempt
        failed, self.failure = self.candidates[self.index].card.slug, error
        self.tried.append({"model": failed, "code": error.code, "reason": error.message})
        if error.answered:
            self.attempt.broken_off(error)
        if self.attempt.started or error.answered:  # text is out, or was written and lost: no other model may be asked now
            cut = isinstance(error, ProviderTruncated | ProviderTimeout)
            await self.settle("interrupted" if cut else "failed", error)
            error.retry_after = passed_on(error.retry_after)
            raise error
        if not self._advance(error):
            await self.settle("failed", error)
            if isinstance(error, ProviderBadRequest | ContextTooLong):
                error.retry_after = passed_on(error.retry_after)
                raise error
            raise NoModelAvailable(details={"tried": self.tried}, retry_after=passed_on(error.retry_after)) from error
        return RouteFallback(failed, self.candidates[self.index].card.slug, error.code)

    async def settle(self, status: Status, error: AppError | None = None) -> Settled:
        assert self.attempt
        outcome = self.attempt.outcome(status, error)
        try:
            charge = await self.attempt.settle(outcome)
        except asyncio.CancelledError:  # the settlement goes on behind us, and this is what it will write
            self._receive(self.attempt, outcome, ledger.charge(self.attempt.held, outcome))
            raise
        return self._receive(self.attempt, outcome, charge)

    async def abandon(self, status: Status) -> None:
        """Settle what is still open, whoever ended the call."""
        if self.attempt is not None and not self.attempt.closed:
            await self.settle(status)

    def _advance(self, error: ProviderError) -> bool:
        """Move to the next candidate at once, or to the same one after the vendor's or our own pause."""
        if isinstance(error, ProviderBadRequest | ContextTooLong) or self.number >= settings.LLM_MAX_ATTEMPTS:
            return False
        self.delay = 0.0
        if self.index + 1 < len(self.candidates):
            self.index += 1
            return True
        pause = error.retry_after if error.retry_after is not None else 0.25 * 2 ** (self.number - 1)
        self.delay = max(0.0, pause)
        return error.retryable and self.delay <= settings.LLM_RETRY_AFTER_CAP

    async def _skip_probed(self) -> None:
        """A model on trial takes one call at a time; the others go to the next candidate, where there is one."""
        while len(self.candidates) > 1 and not await health.allow(self.candidates[0].card.slug):
            self.candidates.pop(0)

    async def _target(self, index: int) -> Target:
        candidate = self.candidates[index]
        return await connections.target(candidate.card, candidate.output_tokens)

    async def _hold(self) -> tuple[router.Candidate, Target, ledger.Held]:
        """Hold for the dearest candidate that may be tried; where that does not fit, for those that do."""
        while True:
            candidate, target = self.candidates[0], await self._target(0)
            amount = max(one.dearest_usd for one in self.candidates[: settings.LLM_MAX_ATTEMPTS])
            try:
                opening = ledger.hold(self._call(candidate, target), amount, _rates(candidate), self.input_tokens)
                return candidate, target, await running_calls.acquire(opening)
            except BudgetExceeded as exc:
                left = Decimal(exc.details.get("left_usd", 0))
                fitting = [one for one in self.candidates if one.dearest_usd <= left]
                if not fitting or len(fitting) == len(self.candidates):
                    raise
                self.candidates = fitting

    def _call(self, candidate: router.Candidate, target: Target) -> ledger.Call:
        context = self.context
        return ledger.Call(
            call_id=uuid7(),
            group_id=context.group_id,
            user_id=context.principal.user_id,
            auth_epoch=context.principal.auth_epoch,
            api_key_id=context.principal.key_id,
            agent_id=context.agent_id,
            task_id=context.task_id,
            conversation_id=context.conversation_id,
            message_id=context.message_id,
            purpose=context.purpose,
            surface=context.surface,
            request_id=context.request_id,
            attempt=self.number,
            requested_model=context.requested_model,
            model=candidate.card.slug,
            provider=candidate.card.provider,
            goal=self.route.goal,
            simulated=target.simulated,
        )

    def _receive(self, attempt: Attempt, outcome: ledger.Outcome, charge: ledger.Charge | None) -> Settled:
        call = attempt.held.call
        record.ended(call, outcome, charge)
        settled = Settled(
            call_id=call.call_id,
            model=call.model,
            provider=call.provider,
            finish_reason=outcome.finish_reason,  # type: ignore[arg-type]  # the ledger keeps plain text
            usage=charge.usage if charge else Usage(),
            cost_usd=charge.cost_usd if charge else Decimal(0),
            estimated=bool(charge and charge.estimated),
            latency_ms=outcome.latency_ms,
            ttft_ms=outcome.ttft_ms,
            route=self.explained(call.model),
            simulated=call.simulated,
        )
        self.receipts.append(settled)
        return settled


def _rates(candidate: router.Candidate) -> pricing.Rates:
    return candidate.card.rates or pricing.ceiling_rates()
