"""The value of a model for one request, in US dollars, and the order of the candidates for each goal. Pure functions.

The chance that a model's answer is good enough is p = logistic((quality - need) / s), where need = 35 + 65 x difficulty.
Its value is V x p - cost - w x seconds, in USD. s, V and w are settings of each goal (ROUTING_WEIGHTS).
docs/adr/0084-routing-rule.md explains the rule and proves that the chosen quality never falls as the need rises.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

from django.conf import settings

from accounts.models import User
from agents.routing.candidates import Facts, Row
from agents.routing.health import ModelHealth
from billing import pricing
from billing.catalogue.snapshot import ModelCard

# Usual tokens of an answer, for comparing prices and times, not for holds.
USUAL_OUTPUT = 400
# After this many calls, live measurements weigh as much as the catalogue's priors.
_PRIOR_SAMPLES = 5
# Share of the input that the conversation's last model finds in its prompt cache.
_CACHED_SHARE = 0.8
# Outages hit whole vendors, so the second candidate comes from another vendor if it has at most this much less quality.
_NEAR_POINTS = 15
_EASIEST_NEED, _NEED_RANGE = 35.0, 65.0
_BY_GOAL: dict[str, Callable[[Row], tuple[Any, ...]]] = {
    User.Goal.BALANCED: lambda row: (-(row.value or 0), -row.quality, row.cost, row.card.slug),
    User.Goal.CHEAPEST: lambda row: (-(row.value or 0), -row.quality, row.cost, row.card.slug),
    User.Goal.FASTEST: lambda row: (row.seconds, -row.quality, row.cost, row.card.slug),
    User.Goal.BEST: lambda row: (-row.quality, row.cost, row.seconds, row.card.slug),
}


def need(difficulty: float) -> float:
    """Return the quality, from 0 to 100, at which an answer is good enough with a probability of one half."""
    return _EASIEST_NEED + _NEED_RANGE * difficulty


def chance(quality: float, needed: float, spread: float) -> float:
    """Return the probability, from 0 to 1, that a model of this quality answers well enough. `spread`: quality points."""
    return 1 / (1 + exp((needed - quality) / spread))


def weigh(row: Row, facts: Facts, goal: str) -> None:
    """Set quality, chance, value and good_enough of the row by the goal's weights. Its cost and seconds must be set."""
    weights = settings.ROUTING_WEIGHTS[goal]
    row.quality = row.card.quality_in_use
    row.chance = chance(row.quality, need(facts.difficulty), weights.spread)
    row.good_enough = row.chance >= weights.good_enough
    if weights.value_usd is not None:
        row.value = weights.value_usd * row.chance - row.cost - (weights.second_usd or 0) * row.seconds


def order(rows: list[Row], goal: str) -> list[Row]:
    """Return the rows, first choice first: the good enough ones by the goal, then the others by quality.

    The second row comes from another vendor if one is near, because a fallback at the failed vendor mostly fails, too.
    """
    able = sorted((row for row in rows if goal == User.Goal.BEST or row.good_enough), key=_BY_GOAL[goal])
    ids = {id(row) for row in able}
    ordered = able + sorted((row for row in rows if id(row) not in ids), key=_BY_GOAL[User.Goal.BEST])
    if len(ordered) < 3 or ordered[1].card.provider != ordered[0].card.provider:
        return ordered
    for position in range(2, len(ordered)):
        other = ordered[position]
        if other.card.provider != ordered[0].card.provider and other.quality >= ordered[1].quality - _NEAR_POINTS:
            if other.good_enough or not ordered[1].good_enough:
                ordered.insert(1, ordered.pop(position))
            break
    return ordered


def expected_cost(card: ModelCard, tokens: int, output: int, *, cached: bool) -> float:
    """Return what `pricing.cost` charges for these tokens, in USD. A model without a price counts at the ceiling.

    `cached`: the model has most of the input in its prompt cache.
    """
    threshold, base, long = _float_rates(card)
    into, out, from_cache = long if threshold is not None and tokens > threshold else base
    known = int(_CACHED_SHARE * tokens) if cached else 0
    return ((tokens - known) * into + known * from_cache + output * out) / 1e6


def expected_seconds(card: ModelCard, live: ModelHealth, output: int) -> float:
    """Return the expected seconds of an answer. Measured values gain weight with the number of samples."""
    trust = live.samples / (live.samples + _PRIOR_SAMPLES)
    ttft = card.ttft_ms if live.ttft_ms is None else trust * live.ttft_ms + (1 - trust) * card.ttft_ms
    speed = (
        card.tokens_per_second if live.tokens_per_second is None else trust * live.tokens_per_second + (1 - trust) * card.tokens_per_second
    )
    return ttft / 1000 + output / max(speed, 0.1)


_Tier = tuple[float, float, float]
_rates_cache: dict[int, tuple[pricing.Rates | None, tuple[int | None, _Tier, _Tier]]] = {}


def _float_rates(card: ModelCard) -> tuple[int | None, _Tier, _Tier]:
    """Return the tier's threshold and the input, output and cached-input rates below and above it.

    They are floats, for comparing only and not for charging.
    """
    rates = card.rates
    found = _rates_cache.get(id(rates))
    if found is None or found[0] is not rates:
        if len(_rates_cache) > 2000:
            _rates_cache.clear()
        used = rates or pricing.ceiling_rates()
        base, long = (
            (float(tier.input), float(tier.output), float(tier.cached))
            for tier in (pricing.tier(used, long=False), pricing.tier(used, long=True))
        )
        found = _rates_cache[id(rates)] = (rates, (used.tier_threshold, base, long))
    return found[1]
