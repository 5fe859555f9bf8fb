"""What a model is worth for one request, in US dollars, and the order of the candidates for each goal. Pure.

The chance that a model's answer is good enough is p = logistic((quality - need) / s), where need = 35 + 65 x difficulty.
Its value is V x p - cost - w x seconds, in USD. s, V and w are settings of each goal (ROUTING_WEIGHTS).
docs/adr/0084-routing-rule.md explains the rule and proves that the quality taken never falls as the need rises.
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

# An answer's usual length, where the limit allows more: for comparing prices and times, not for holds.
USUAL_OUTPUT = 400
# Live measurements count as much as the catalogue's priors after this many calls.
_PRIOR_SAMPLES = 5
# Part of the input that a conversation's model finds in its prompt cache.
_CACHED_SHARE = 0.8
# Outages are a vendor's, so the second candidate comes from another vendor, where one gives up at most so many points of quality.
_NEAR_POINTS = 15
_EASIEST_NEED, _NEED_RANGE = 35.0, 65.0
_BY_GOAL: dict[str, Callable[[Row], tuple[Any, ...]]] = {
    User.Goal.BALANCED: lambda row: (-(row.value or 0), -row.quality, row.cost, row.card.slug),
    User.Goal.CHEAPEST: lambda row: (-(row.value or 0), -row.quality, row.cost, row.card.slug),
    User.Goal.FASTEST: lambda row: (row.seconds, -row.quality, row.cost, row.card.slug),
    User.Goal.BEST: lambda row: (-row.quality, row.cost, row.seconds, row.card.slug),
}


def need(difficulty: float) -> float:
    """The quality, on the catalogue's scale from 0 to 100, at which an answer is as likely good enough as not."""
    return _EASIEST_NEED + _NEED_RANGE * difficulty


def chance(quality: float, needed: float, spread: float) -> float:
    """The probability from 0 to 1 that a model of this quality answers well enough. `spread`: points of quality."""
    return 1 / (1 + exp((needed - quality) / spread))


def weigh(row: Row, facts: Facts, goal: str) -> None:
    """Write quality, chance, value and good_enough into the row, by the weights of the goal; its cost and seconds are there already."""
    weights = settings.ROUTING_WEIGHTS[goal]
    row.quality = row.card.quality_in_use
    row.chance = chance(row.quality, need(facts.difficulty), weights.spread)
    row.good_enough = row.chance >= weights.good_enough
    if weights.value_usd is not None:
        row.value = weights.value_usd * row.chance - row.cost - (weights.second_usd or 0) * row.seconds


def order(rows: list[Row], goal: str) -> list[Row]:
    """The rows, first choice first: the good enough ones by the goal, then the others by quality.

    The second row comes from another vendor where one is near: a fallback at the vendor that just failed mostly fails, too.
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
    """What `pricing.cost` charges for this size, in USD; a model without a price counts at the ceiling.

    `cached`: the model knows most of the input from the conversation so far.
    """
    threshold, base, long = _float_rates(card)
    into, out, from_cache = long if threshold is not None and tokens > threshold else base
    known = int(_CACHED_SHARE * tokens) if cached else 0
    return ((tokens - known) * into + known * from_cache + output * out) / 1e6


def expected_seconds(card: ModelCard, live: ModelHealth, output: int) -> float:
    """Expected time of an answer: measured values weigh in as samples come."""
    trust = live.samples / (live.samples + _PRIOR_SAMPLES)
    ttft = card.ttft_ms if live.ttft_ms is None else trust * live.ttft_ms + (1 - trust) * card.ttft_ms
    speed = (
        card.tokens_per_second if live.tokens_per_second is None else trust * live.tokens_per_second + (1 - trust) * card.tokens_per_second
    )
    return ttft / 1000 + output / max(speed, 0.1)


_Tier = tuple[float, float, float]
_rates_cache: dict[int, tuple[pricing.Rates | None, tuple[int | None, _Tier, _Tier]]] = {}


def _float_rates(card: ModelCard) -> tuple[int | None, _Tier, _Tier]:
    """Input, output and cached-input rates as floats, below and above the tier's threshold: for comparing, not for charging."""
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
