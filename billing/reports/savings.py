"""What the same tokens would have cost elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from billing import pricing
from billing.catalogue.snapshot import ModelCard
from billing.usage import Usage

# A model of so many points less quality (of 100) still counts as alike.
LIKE_QUALITY = 3
# Share of the cost that must be saved to be worth a word.
WORTH = Decimal("0.15")


@dataclass(frozen=True, slots=True)
class Work:
    """What was done with one model: its calls' tokens together, and the largest of each."""

    usage: Usage
    cost_usd: Decimal
    max_input_tokens: int
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """A model that could have done the work. `cost_usd`: at the same numbers of tokens."""

    card: ModelCard
    cost_usd: Decimal
    saving_usd: Decimal


def cheapest_alike(work: Work, card: ModelCard, cards: Iterable[ModelCard]) -> Alternative | None:
    """The cheapest usable model that can all the given one can and is about as good; None if it saves too little."""
    best: Alternative | None = None
    if card.embeds:
        return None  # its vectors are stored somewhere, and no other model's can be compared with them
    for other in cards:
        if other.slug == card.slug or not _can(other, card, work):
            continue
        cost = would_cost(other, work)
        if cost is None or cost > work.cost_usd * (1 - WORTH):
            continue
        if best is None or (cost, -other.quality) < (best.cost_usd, -best.card.quality):
            best = Alternative(other, cost, work.cost_usd - cost)
    return best


def would_cost(card: ModelCard, work: Work) -> Decimal | None:
    """The work at this model's prices; None where they are unknown, or the rates of long calls come in."""
    rates = card.rates
    if rates is None or rates.unknown or (rates.tier_threshold is not None and work.max_input_tokens > rates.tier_threshold):
        return None
    return pricing.cost(replace(rates, tier_threshold=None), work.usage)


def _can(other: ModelCard, card: ModelCard, work: Work) -> bool:
    return (
        other.usable
        and other.lifecycle == "active"
        and other.quality >= card.quality - LIKE_QUALITY
        # Reasoning shows in the quality; the rest a request may depend on.
        and other.capabilities >= card.capabilities - {"reasoning"}
        and other.context_window >= work.max_input_tokens + work.max_output_tokens
        and other.max_output_tokens >= work.max_output_tokens
    )
