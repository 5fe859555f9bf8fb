"""Routing of embedding calls: only to the named model. Pure functions.

Vectors of different models cannot be compared, so there is no `auto`. A fallback must be the same model at another
connection: a catalogue entry with the same vendor's name and the same dimensions.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.messages import EmbeddingRequest, byte_size, typical
from agents.routing.candidates import absent, removed_json
from agents.routing.rank import Candidate, Route
from agents.routing.removal import Removal
from aiagents.core.errors import BudgetExceeded, InvalidRequest, ModelNotFound
from billing import pricing
from billing.catalogue.snapshot import ModelCard

# Vendors that accept token numbers as input.
_READS_TOKENS = ("openai", "openai_compatible")
# Hardly any text has fewer tokens than its bytes divided by this. A text that is longer for certain is refused.
_BYTES_PER_TOKEN = 16
# Most numbers of one answer: 16 MB as vectors and several times that as text, for a call that costs almost nothing.
MOST_NUMBERS = 4_000_000
_NEVER_SHORTENED = ("text-embedding-ada-002",)


@dataclass(frozen=True, slots=True)
class Wanted:
    request: EmbeddingRequest
    model: str
    fallbacks: tuple[str, ...]
    max_cost_usd: Decimal | None
    input_tokens: int


def rank(wanted: Wanted, cards: Mapping[str, ModelCard], configured: Container[str]) -> Route:
    """Return the named model, and its duplicates among the caller's fallbacks.

    Raises ModelNotFound for an unknown or unavailable model, InvalidRequest for `auto` and for a model that cannot make
    these embeddings, BudgetExceeded if no candidate fits `max_cost_usd`.
    """
    if wanted.model.partition(":")[0] == "auto":
        available = ", ".join(slug for slug, card in sorted(cards.items()) if card.embeds and absent(card, configured) is None) or "none"
        raise InvalidRequest(
            f"Embeddings are not routed: vectors of different models cannot be compared. Name one of: {available}.",
            param="model", code="model_required",
        )  # fmt: skip
    first = _card(wanted.model, cards, "model")
    duplicates = [_same_model(_card(slug, cards, "fallbacks"), first) for slug in dict.fromkeys(wanted.fallbacks) if slug != first.slug]
    rows: list[tuple[ModelCard, Removal | None]] = [(card, absent(card, configured)) for card in (first, *duplicates)]
    callable_cards = [card for card, missing in rows if missing is None]
    if not callable_cards:
        raise ModelNotFound(f"{first.slug} is not available here: {rows[0][1]}.", param="model")
    _fits(wanted.request, callable_cards)
    candidates = [_candidate(card, wanted.input_tokens) for card in callable_cards]
    paid = [one for one in candidates if wanted.max_cost_usd is None or one.dearest_usd <= wanted.max_cost_usd]
    if not paid:
        raise BudgetExceeded("The call may cost more than max_cost_usd.", code="max_cost_exceeded", param="max_cost_usd")
    return Route(tuple(paid), _explanation(wanted, rows, paid), "")


def _card(slug: str, cards: Mapping[str, ModelCard], param: str) -> ModelCard:
    if (card := cards.get(slug)) is None:
        raise ModelNotFound(f"The model {slug[:100]!r} does not exist.", param=param)
    if not card.embeds:
        raise InvalidRequest(f"{card.slug} makes no embeddings: it writes text.", param=param, code="model_unfit")
    return card


def _same_model(card: ModelCard, first: ModelCard) -> ModelCard:
    """Return the card if it is the same model at another connection. Raises InvalidRequest for another model."""
    if (card.vendor_model, card.dimensions) != (first.vendor_model, first.dimensions):
        raise InvalidRequest(
            f"{card.slug} cannot stand in for {first.slug}: it is another model, and its vectors cannot be compared.",
            param="fallbacks", code="fallback_unfit",
        )  # fmt: skip
    return card


def _fits(request: EmbeddingRequest, cards: list[ModelCard]) -> None:
    """Raise InvalidRequest for input that a vendor would refuse or silently cut, before a call is paid."""
    for card in cards:
        if card.provider not in _READS_TOKENS and not all(isinstance(one, str) for one in request.inputs):
            raise InvalidRequest(
                f"{card.slug} reads text only: send strings, not arrays of tokens (OpenAI's token numbers mean nothing to it).",
                param="input", code="tokens_not_supported",
            )  # fmt: skip
        if request.dimensions is not None and (card.vendor_model in _NEVER_SHORTENED or 0 < card.dimensions < request.dimensions):
            message = f"{card.slug}'s vectors are {card.dimensions} long" + (
                "." if card.vendor_model not in _NEVER_SHORTENED else " and cannot be shortened."
            )
            raise InvalidRequest(message, param="dimensions", code="invalid_value")
        if len(request.inputs) * (length := request.dimensions or card.dimensions) > MOST_NUMBERS:
            raise InvalidRequest(
                f"{len(request.inputs)} vectors of {length} numbers are too many for one answer: send {MOST_NUMBERS // length} at a time.",
                param="input", code="too_many_inputs",
            )  # fmt: skip
        for position, one in enumerate(request.inputs):
            least = len(one) if isinstance(one, tuple) else byte_size(one) // _BYTES_PER_TOKEN
            if least > card.context_window:
                raise InvalidRequest(
                    f"input[{position}] is longer than the {card.context_window} tokens that {card.slug} reads.",
                    param="input", code="context_too_long",
                )  # fmt: skip


def _candidate(card: ModelCard, input_tokens: int) -> Candidate:
    rates = card.rates or pricing.ceiling_rates()
    dearest = pricing.highest_cost(rates, input_tokens, 0)
    return Candidate(
        card, 0, float(pricing.highest_cost(rates, typical(input_tokens), 0)), dearest, dearest, dearest, most_input=input_tokens
    )


def _explanation(wanted: Wanted, rows: list[tuple[ModelCard, Removal | None]], chosen: list[Candidate]) -> dict[str, Any]:
    costs = {one.card.slug: f"{one.estimate_usd:.8f}" for one in chosen}
    first = chosen[0].card.slug
    return {
        "requested": wanted.model,
        "goal": "",
        "chosen": first,
        "reason": f"{first} was requested."
        if first == wanted.model
        else f"{first} is the same model as {wanted.model} at another connection.",
        "candidates": [
            {"model": card.slug, "provider": card.provider, "estimated_cost_usd": costs.get(card.slug), **removed_json(why)}
            for card, why in rows
        ],
        "baseline": None,
    }
