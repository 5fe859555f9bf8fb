"""The count of a prompt's input tokens for a client: by the vendor where it can be asked, else by our tokenizer and estimate."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from agents import providers
from agents.calls import service as calls
from agents.calls.service import CallContext
from agents.counting import estimate
from agents.counting.estimate import Counted
from agents.messages import CompletionRequest
from agents.providers.counting import CountingProvider
from agents.providers.errors import NotConfigured, ProviderBadRequest, ProviderError
from agents.routing import connections
from agents.routing.rank import AUTO
from aiagents.core.errors import BudgetExceeded, InvalidRequest, NoModelAvailable
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard

log = logging.getLogger(__name__)
# Seconds to wait for a vendor's count before the estimate takes its place: clients count before each turn.
VENDOR_SECONDS = 3.0
# An agent chooses its models, so its prompts are counted as those of an unknown one; so is `auto` while no model can answer.
_AGENT = "agent:"
_UNKNOWN = Counted("openai", "")


@dataclass(frozen=True, slots=True)
class Count:
    """`source` says who counted: the vendor, the model's own tokenizer, or an estimate by a tokenizer of another vendor."""

    tokens: int
    source: Literal["vendor", "tokenizer", "estimate"]


async def count(request: CompletionRequest, context: CallContext) -> Count:
    """Return the input tokens of a request for the model that the context names. Makes no paid call.

    Raises ModelNotFound or AmbiguousModel for the name, and ProviderBadRequest if the vendor refuses a body of its dialect.
    """
    card = await _card(request, context)
    if card is None:
        return Count(await estimate.tokens(request, _UNKNOWN), "estimate")
    if (tokens := await _by_vendor(request, card)) is not None:
        return Count(tokens, "vendor")
    model = Counted(card.provider, card.vendor_model)
    exact = card.provider == "openai" and not model.tokenizer.factors
    return Count(await estimate.tokens(request, model), "tokenizer" if exact else "estimate")


async def _card(request: CompletionRequest, context: CallContext) -> ModelCard | None:
    known = await catalogue.current()
    name = context.requested_model
    if not name or name.startswith(_AGENT):
        return None
    if name.partition(":")[0] != AUTO:
        return known.cards.get(name) or known.get(name)
    try:
        chosen = await calls.choose(request, context)
    except (NoModelAvailable, InvalidRequest, BudgetExceeded):  # a prompt that no model can take still has a size
        return None
    return known.cards.get(chosen)


async def _by_vendor(request: CompletionRequest, card: ModelCard) -> int | None:
    """Return the vendor's count; None if it has no endpoint for it, if we have no key, or if it does not answer in time."""
    provider = providers.provider(card.provider)
    if not isinstance(provider, CountingProvider):
        return None
    try:
        target = await connections.target(card, card.max_output_tokens)
        return None if target.simulated else await provider.count(request, target, VENDOR_SECONDS)
    except NotConfigured:
        return None
    except ProviderError as exc:
        native = request.native is not None and request.native.provider == card.provider
        if native and isinstance(exc, ProviderBadRequest):
            raise
        log.info("vendor_did_not_count", extra={"vendor": card.provider, "code": exc.code})
        return None
