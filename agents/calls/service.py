"""Model calls: the product buys every token through `stream`.

It ranks the models, reserves the money, calls the vendor, passes its events on and settles. A failure before the first
token moves on to the next candidate; a later one goes to the caller. Each vendor call ends in exactly one settlement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.authentication import Principal
from agents.calls import rules_log
from agents.calls import running as running_calls
from agents.calls.running import Attempt, Status
from agents.counting import estimate
from agents.counting.estimate import Counted
from agents.events import Event, NativeAnswer, RouteFallback, Settled, Started
from agents.messages import CompletionRequest, EmbeddingRequest, PromptTooLarge, characters, estimate_embedding, estimate_input, images_of
from agents.providers.base import Target
from agents.providers.errors import (
    ContextTooLong,
    ModelCannotTake,
    ProviderBadRequest,
    ProviderError,
    ProviderModelRule,
    ProviderTimeout,
    ProviderTruncated,
    retry_after_for_client,
)
from agents.routing import connections, health
from agents.routing import embeddings as router_embeddings
from agents.routing import rank as router
from agents.routing.removal import Code
from aiagents.core.errors import AppError, BudgetExceeded, InvalidRequest, NoModelAvailable
from aiagents.core.ids import uuid7
from aiagents.core.live.cancellation import cause_of
from aiagents.core.metrics import counters as metrics
from billing.catalogue import snapshot as catalogue
from billing.ledger import service as ledger
from billing.pricing import Usage

# The purposes of calls whose prompts we write, turn by turn and step by step.
_CACHED = frozenset({"chat", "agent", "task"})


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who pays, the purpose, and the requested model. All calls of one request share `group_id`."""

    principal: Principal
    purpose: str
    surface: str
    request_id: str
    group_id: UUID
    requested_model: str = "auto"
    goal: str = ""
    fallbacks: tuple[str, ...] = ()
    max_cost_usd: Decimal | None = None
    # The model that answered before, and the input tokens that it reported as cached then.
    sticky: str | None = None
    cached_tokens: int = 0
    conversation_id: UUID | None = None
    message_id: UUID | None = None
    agent_id: UUID | None = None
    task_id: UUID | None = None


async def stream(
    request: CompletionRequest | EmbeddingRequest,
    context: CallContext,
    receipts: list[Settled] | None = None,
    *,
    whole: bool = False,
) -> AsyncGenerator[Event, None]:
    """Yield the events of one routed, paid model call: RouteFallback*, Started, deltas and tool calls, Settled last.

    An EmbeddingRequest gets Vectors in place of deltas. `whole`: the caller does not show growing text, so we request one
    JSON answer, which is cheaper for both sides. Raises an AppError, after the settlement.
    Every settlement is added to `receipts`, also when the consumer closes the generator or is cancelled.
    """
    known = await catalogue.current()
    context = _with_slugs(context, known)
    if isinstance(request, CompletionRequest):
        request = _with_cache_key(request, context)
    route, input_tokens = await _rank(request, context, known)
    attempts = _Attempts(context, route, input_tokens, [] if receipts is None else receipts)
    try:
        while True:
            attempt = await attempts.next_attempt()
            try:
                async with aclosing(attempt.events(request, whole=whole)) as events:
                    started = False
                    async for event in events:
                        if not started:
                            started = True
                            call = attempt.held.call
                            native = isinstance(event, NativeAnswer)
                            yield Started(call.call_id, call.model, call.provider, attempts.explanation(call.model), native)
                        yield event
            except ProviderError as exc:
                attempt.record_health(exc)
                fallback = await attempts.after_failure(exc)  # raises when it is over
            else:
                attempt.record_health(None)
                yield await attempts.settle("ok")
                return
            metrics.FALLBACKS.inc()
            yield fallback
            await asyncio.sleep(attempts.delay)
    except AppError:
        await attempts.abandon("failed")
        raise
    except BaseException as exc:  # cancelled, or the consumer closed the generator: settle all the same
        gone = isinstance(exc, asyncio.CancelledError | GeneratorExit)
        await attempts.abandon(cause_of(exc).value if gone else "failed")
        raise


def _with_cache_key(request: CompletionRequest, context: CallContext) -> CompletionRequest:
    """Return a request that the vendor caches if others follow it: of a conversation, or of an agent with tools.

    A request that no other follows would pay for writing into the cache, and nothing would read it.
    """
    follows = context.conversation_id is not None or bool(request.tools)
    if request.native is not None or context.purpose not in _CACHED or not follows:
        return request
    return replace(request, cache_key=str(context.conversation_id or context.group_id))


async def preview(request: CompletionRequest, context: CallContext) -> dict[str, Any]:
    """Return the routing explanation of a request without calling a vendor.

    It holds the chosen model, the reason, every candidate with its probability, cost, time and value, and the estimated
    `input_tokens` of the chosen model.
    """
    known = await catalogue.current()
    route, _ = await _rank(request, _with_slugs(context, known), known)
    card = route.candidates[0].card
    return {**route.explanation, "input_tokens": await estimate.tokens(request, Counted(card.provider, card.vendor_model))}


async def choose(request: CompletionRequest, context: CallContext) -> str:
    """Return the slug of the model that would answer. Raises what ranking raises."""
    known = await catalogue.current()
    return (await _rank(request, _with_slugs(context, known), known))[0].candidates[0].card.slug


def _with_slugs(context: CallContext, known: catalogue.Catalogue) -> CallContext:
    """Return the context with the slugs of the models that it names. Raises ModelNotFound or AmbiguousModel."""

    def slug(name: str, param: str) -> str:
        return name if name in known.cards or name.partition(":")[0] == router.AUTO else known.get(name, param).slug

    requested = slug(context.requested_model, "model")
    fallbacks = tuple(slug(name, "fallbacks") for name in context.fallbacks)
    if (requested, fallbacks) == (context.requested_model, context.fallbacks):
        return context
    return replace(context, requested_model=requested, fallbacks=fallbacks)


async def _rank(
    request: CompletionRequest | EmbeddingRequest, context: CallContext, cards: catalogue.Catalogue
) -> tuple[router.Route, int]:
    if isinstance(request, EmbeddingRequest):
        input_tokens = estimate_embedding(request)
        wanted = router_embeddings.Wanted(request, context.requested_model, context.fallbacks, context.max_cost_usd, input_tokens)
        return router_embeddings.rank(wanted, cards.cards, await connections.configured()), input_tokens
    # Images and files count for a few tokens each, so a model's context window does not bound the size of the body.
    if characters(request) > settings.MAX_PROMPT_CHARACTERS:
        raise PromptTooLarge(details={"max_characters": settings.MAX_PROMPT_CHARACTERS})
    input_tokens = estimate_input(request)
    if request.native is not None and (blocked := cards.blocked.get(request.native.provider)):
        for name in request.priced.unknown:
            if name in blocked:
                message = f"{name} is blocked: it brought usage that has no price. Staff can add the price of the model."
                raise InvalidRequest(message, param=name, code="unsupported_parameter")
    chosen = router.weighs(context.requested_model, context.fallbacks)
    native = request.native if request.native is not None and request.native.untranslatable is not None else None
    needs = request.needs()
    facts = router.Facts(
        requested=context.requested_model,
        goal=context.goal or context.principal.user.goal,
        needs=needs,
        input_tokens=input_tokens,
        max_output_tokens=request.max_output_tokens,
        fallbacks=context.fallbacks,
        max_cost_usd=context.max_cost_usd,
        sticky=context.sticky,
        cached_tokens=context.cached_tokens,
        difficulty=router.difficulty(request) if chosen else 0.5,
        only_at=(native.provider, native.endpoint) if native is not None else None,
        also_at=await connections.passing() if native is not None and (native.provider, native.endpoint) == ("openai", "") else frozenset(),
        priced=request.priced,
        images=images_of(request) if "vision" in needs else 0,
    )
    try:
        return router.rank(facts, cards.cards, health.snapshot(), await connections.configured()), input_tokens
    except AppError as exc:
        refused = next(iter(exc.details.get("candidates") or ()), None)
        if native is not None and native.untranslatable is not None and refused and refused["removed_code"] == Code.OTHER_DIALECT:
            raise native.untranslatable from exc
        raise


class _Attempts:
    """The attempts of one call: the next candidate, the failures so far and the current hold."""

    def __init__(self, context: CallContext, route: router.Route, input_tokens: int, receipts: list[Settled]) -> None:
        self.context, self.route, self.input_tokens, self.receipts = context, route, input_tokens, receipts
        self.candidates = list(route.candidates)
        self.index = 0
        self.number = 0
        self.delay = 0.0
        self.tried: list[dict[str, Any]] = []
        self.attempt: Attempt | None = None
        self.failure: ProviderError | None = None

    def explanation(self, model: str) -> dict[str, Any]:
        """Return the routing explanation to store: with the model that answered, our limit of its output, and the failed attempts."""
        used = self.attempt.candidate if self.attempt is not None else None
        limited = {"tokens": used.output_tokens, "limited_by": used.limited_by} if used is not None and used.limited_by else None
        found = {**self.route.explanation, "model": model, "output_limit": limited, "tried": list(self.tried)}
        return found | {"dropped_tools": list(used.dropped)} if used is not None and used.dropped else found

    async def next_attempt(self) -> Attempt:
        """Return an attempt at the next candidate, with a new hold or the hold of the failed attempt."""
        self.number += 1
        if self.attempt is None:
            await self._skip_half_open()
            candidate, target, held = await self._hold()
        else:
            failed = self.attempt
            candidate, target = await self._next_candidate(failed.held.amount)
            call = self._call(candidate, target)
            outcome = failed.outcome("failed", self.failure)
            held = await running_calls.acquire(ledger.reattempt(failed.held, outcome, call, candidate.rates))
            failed.closed = True
            running_calls.end(failed.held.call.call_id)
            self._receive(failed, outcome, None)
        self.attempt = Attempt(candidate, target, held)
        return self.attempt

    async def after_failure(self, error: ProviderError) -> RouteFallback:
        """Move to the next candidate and return the event for it.

        Raises when there is none: the vendor's error if the caller must see it, else NoModelAvailable with the failures.
        """
        assert self.attempt
        failed, self.failure = self.candidates[self.index].card.slug, error
        self.tried.append({"model": failed, "code": error.code, "reason": error.message})
        if error.answered:
            self.attempt.broken_off(error)
        if isinstance(error, ProviderModelRule):
            await rules_log.record_refusal(failed, error)
        if self.attempt.started or error.answered:  # text was shown, or written and lost: no other model may answer
            cut = isinstance(error, ProviderTruncated | ProviderTimeout)
            await self.settle("interrupted" if cut else "failed", error)
            error.retry_after = retry_after_for_client(error.retry_after)
            raise error
        if not self._advance(error):
            await self.settle("failed", error)
            if isinstance(error, ProviderBadRequest | ContextTooLong):
                error.retry_after = retry_after_for_client(error.retry_after)
                raise error
            raise NoModelAvailable(details={"tried": self.tried}, retry_after=retry_after_for_client(error.retry_after)) from error
        return RouteFallback(failed, self.candidates[self.index].card.slug, error.code)

    async def settle(self, status: Status, error: AppError | None = None) -> Settled:
        assert self.attempt
        outcome = self.attempt.outcome(status, error)
        try:
            charge = await self.attempt.settle(outcome)
        except asyncio.CancelledError:  # it continues in the background and will write this charge
            self._receive(self.attempt, outcome, ledger.charge(self.attempt.held, outcome))
            raise
        return self._receive(self.attempt, outcome, charge)

    async def abandon(self, status: Status) -> None:
        """Settle the open attempt of a call that ended early."""
        if self.attempt is not None and not self.attempt.closed:
            await self.settle(status)

    def _advance(self, error: ProviderError) -> bool:
        """Select the next candidate, or the last one again after the vendor's or our own pause. False: give up."""
        # Another model may take what this one refused.
        others = isinstance(error, ModelCannotTake | ProviderModelRule)
        if (isinstance(error, ProviderBadRequest) and not others) or self.number >= settings.LLM_MAX_ATTEMPTS:
            return False
        self.delay = 0.0
        if self.index + 1 < len(self.candidates):
            self.index += 1
            return True
        pause = error.retry_after if error.retry_after is not None else 0.25 * 2 ** (self.number - 1)
        self.delay = max(0.0, pause)
        return error.retryable and self.delay <= settings.LLM_RETRY_AFTER_CAP

    async def _skip_half_open(self) -> None:
        """Skip a half-open model while another call tries it, if there is another candidate."""
        while len(self.candidates) > 1 and not await health.allow(self.candidates[0].card.slug):
            self.candidates.pop(0)

    async def _next_candidate(self, amount: Decimal) -> tuple[router.Candidate, Target]:
        """Return the current candidate with the output that `amount` (USD) pays for, and its target."""
        candidate = self.candidates[self.index].within(amount)
        return candidate, await connections.target(candidate.card, candidate.output_tokens)

    async def _hold(self) -> tuple[router.Candidate, Target, ledger.Held]:
        """Reserve what the most expensive candidate may cost, or the part of it that the budgets give.

        If they do not give enough for a usual answer, keep the candidates for which they do; if there are none, those for
        which they give enough for the least answer.
        """
        usual = True
        while True:
            tried = self.candidates[: settings.LLM_MAX_ATTEMPTS]
            most, usual_usd = max(one.dearest_usd for one in tried), max(one.usual_usd for one in tried)
            least = usual_usd if usual else self.candidates[0].least_usd
            candidate, target = await self._next_candidate(most)
            try:
                opening = ledger.hold(self._call(candidate, target), most, candidate.rates, self.input_tokens, usual=usual_usd, least=least)
                held = await running_calls.acquire(opening)
            except BudgetExceeded as exc:
                left = Decimal(exc.details.get("left_usd", 0))
                usual, fitting = self._fitting(left, usual=usual)
                if not fitting:
                    raise
                self.candidates = fitting
                continue
            self.candidates = [one for one in self.candidates if one.least_usd <= held.amount]
            candidate = candidate.within(held.amount)
            return candidate, replace(target, max_output_tokens=candidate.output_tokens), held

    def _fitting(self, left: Decimal, *, usual: bool) -> tuple[bool, list[router.Candidate]]:
        """Return the candidates whose usual answer `left` (USD) pays for, else those whose least it does, and which it is."""
        if usual and (fitting := [one for one in self.candidates if one.usual_usd <= left]):
            return True, fitting
        fitting = [one for one in self.candidates if one.least_usd <= left]
        return False, fitting if usual or len(fitting) < len(self.candidates) else []

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
        running_calls.record(call, outcome, charge)
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
            route=self.explanation(call.model),
            simulated=call.simulated,
            stop_sequence=attempt.completed.stop_sequence if attempt.completed else "",
        )
        self.receipts.append(settled)
        return settled
