"""Cost of the same tokens with other models. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from billing import pricing
from billing.catalogue.snapshot import ModelCard
from billing.pricing import Usage

# The points of quality (of 100) that an equivalent model may have less.
LIKE_QUALITY = 3
# The share of the cost that an alternative must save to be reported.
WORTH = Decimal("0.15")


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one model: the sums of its calls' tokens, and the largest input and output."""

    usage: Usage
    cost_usd: Decimal
    max_input_tokens: int
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """A model that could have done the work. `cost_usd`: its cost for the same numbers of tokens."""

    card: ModelCard
    cost_usd: Decimal
    saving_usd: Decimal


def cheapest_alike(work: Work, card: ModelCard, cards: Iterable[ModelCard]) -> Alternative | None:
    """Return the cheapest usable model with the same capabilities and about the same quality.

    None if it saves too little.
    """
    best: Alternative | None = None
    if card.embeds:
        return None  # stored vectors cannot be compared with those of another model
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
    """Return the cost (USD) of the work at this model's prices.

    None if they are unknown or long-context rates apply.
    """
    rates = card.rates
    if rates is None or rates.unknown or (rates.tier_threshold is not None and work.max_input_tokens > rates.tier_threshold):
        return None
    return pricing.cost(replace(rates, tier_threshold=None), work.usage)


def _can(other: ModelCard, card: ModelCard, work: Work) -> bool:
    return (
        other.usable
        and other.lifecycle == "active"
        and other.quality >= card.quality - LIKE_QUALITY
        # The quality includes reasoning; a request may depend on the other capabilities.
        and other.capabilities >= card.capabilities - {"reasoning"}
        and other.context_window >= work.max_input_tokens + work.max_output_tokens
        and other.max_output_tokens >= work.max_output_tokens
    )
