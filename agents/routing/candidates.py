"""The candidates of a request: the reasons against each model, its value in US dollars, and their order. Pure functions.

Hard filters come first, then soft ones, which may be overruled. The chance that a model's answer is good enough is
p = logistic((quality - need) / s), where need = 35 + 65 x difficulty. Its value is V x p - cost - w x seconds, in USD.
s, V and w are settings of each goal (ROUTING_WEIGHTS).
docs/adr/0084-routing-rule.md explains the rule and proves that the chosen quality never falls as the need rises.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import exp
from typing import Any, Literal

from django.conf import settings

from accounts.models import User
from agents.counting import images
from agents.messages import IMAGE_TOKENS, NOTHING_PRICED, PricedUse, typical
from agents.routing import removal
from agents.routing.health import HEALTHY, ModelHealth, connection_key
from agents.routing.removal import Code, Removal
from aiagents.core.errors import BudgetExceeded, InvalidRequest, ModelNotFound, NoModelAvailable
from billing import pricing
from billing.catalogue.snapshot import ModelCard

GOALS = tuple(User.Goal.values)
# Usual tokens of an answer, for comparing prices and times, not for holds.
USUAL_OUTPUT = 400
# Output tokens that a hold covers before it takes its part of a budget, and the fewest that are worth a call
# (docs/adr/0106-output-limit-by-money.md).
HELD_OUTPUT, LEAST_OUTPUT = 4096, 1024
# These vendors demand an output limit and may refuse one that reaches beyond the context window.
_LIMIT_DEMANDED = frozenset({"anthropic"})
LimitedBy = Literal["", "budget", "max_cost_usd", "setting"]
# After this many calls, live measurements weigh as much as the catalogue's priors.
_PRIOR_SAMPLES = 5
# Outages hit whole vendors, so the second candidate comes from another vendor if it has at most this much less quality.
_NEAR_POINTS = 15
# The prompt that Anthropic adds for tools, at most: 530 tokens for Claude 3 Opus. Source: its page about the prices of tool use.
_ANTHROPIC_TOOLS = 600
_EASIEST_NEED, _NEED_RANGE = 35.0, 65.0


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a request that routing uses. `requested` is a slug, `auto`, or `auto:<goal>`."""

    requested: str
    goal: str
    needs: frozenset[str]
    input_tokens: int
    max_output_tokens: int | None = None
    fallbacks: tuple[str, ...] = ()
    max_cost_usd: Decimal | None = None
    sticky: str | None = None
    # Input tokens that this model reported as cached for the last answer.
    cached_tokens: int = 0
    difficulty: float = 0.5
    # The vendor and endpoint whose dialect the request is in, if it cannot be translated for another.
    only_at: tuple[str, str] | None = None
    # Further models that take this dialect.
    also_at: Container[str] = frozenset()
    priced: PricedUse = NOTHING_PRICED
    # `input_tokens` counts each with IMAGE_TOKENS; some models count far more.
    images: int = 0

    def most_input(self, card: ModelCard) -> int:
        """Return the most input tokens that this model can count."""
        most = self.input_tokens
        if "tools" in self.needs and card.provider == "anthropic":
            most += _ANTHROPIC_TOOLS
        if self.images:
            most += self.images * max(0, images.most(card.provider, card.vendor_model) - IMAGE_TOKENS)
        return most


@dataclass(slots=True)
class Row:
    """One model under consideration.

    `cost` and `value` are USD; `chance` is the probability of an answer that is good enough.
    `value` is None for a goal that orders by a single number. `output` is the most output tokens, and `limited_by` what
    made them fewer than the model and its caller allow.
    """

    card: ModelCard
    output: int = 0
    limited_by: LimitedBy = ""
    quality: float = 0.0
    chance: float = 0.0
    cost: float = 0.0
    seconds: float = 0.0
    value: float | None = None
    good_enough: bool = False
    removed: Removal | None = None
    # It answered last in this conversation, which decides between equals.
    wrote_before: bool = False

    def removed_for(self, codes: Container[Code]) -> bool:
        """Whether the model is removed for one of these reasons."""
        return self.removed is not None and self.removed.code in codes

    def removed_json(self) -> dict[str, str | None]:
        """`removed` and `removed_code`, null for a candidate."""
        return removed_json(self.removed)


def removed_json(why: Removal | None) -> dict[str, str | None]:
    return {"removed": why.sentence if why else None, "removed_code": why.code.value if why else None}


def absent(card: ModelCard, configured: Container[str]) -> Removal | None:
    """Return why the model is not available in this installation; None if it is."""
    if card.slug not in configured:
        return removal.NOT_CONFIGURED
    if not card.enabled:
        return removal.DISABLED
    return removal.RETIRED if card.lifecycle == "retired" else None


def row(facts: Facts, card: ModelCard, health: Mapping[str, ModelHealth], configured: Container[str]) -> Row:
    """Return the model with its expected cost and time, and the reason against it in `removed`."""
    row = Row(card, wrote_before=facts.sticky == card.slug)
    tokens = typical(facts.input_tokens)
    free_tokens = card.context_window - tokens
    row.output = _output(facts, card, free_tokens)
    if facts.max_output_tokens is None and 0 < settings.LLM_DEFAULT_MAX_OUTPUT_TOKENS < row.output:
        row.output, row.limited_by = settings.LLM_DEFAULT_MAX_OUTPUT_TOKENS, "setting"
    usual = min(USUAL_OUTPUT, row.output)
    row.cost = expected_cost(card, tokens, usual, cached=facts.cached_tokens if row.wrote_before else 0)
    live = health.get(card.slug, HEALTHY)
    row.seconds = expected_seconds(card, live, usual)
    missing = facts.needs - card.capabilities
    connection = health.get(connection_key(card), HEALTHY)
    if reason := absent(card, configured):
        row.removed = reason
    elif card.embeds:
        row.removed = removal.EMBEDDINGS_ONLY
    elif facts.only_at is not None and (card.provider, card.endpoint) != facts.only_at and card.slug not in facts.also_at:
        row.removed = removal.OTHER_DIALECT
    elif found := _without_price(facts.priced, card):
        row.removed = found
    elif missing:
        row.removed = Removal(Code.CAPABILITY_MISSING, f"it cannot do {', '.join(sorted(missing))}")
    elif free_tokens < 1:
        sentence = f"about {tokens} input tokens do not fit its window of {card.context_window}"
        row.removed = Removal(Code.CONTEXT_TOO_LONG, sentence)
    elif not _affordable(row, facts):
        row.removed = removal.MAX_COST
    elif live.state == "open" or connection.state == "open":
        row.removed = removal.BREAKER_OPEN
    return row


def _output(facts: Facts, card: ModelCard, free_tokens: int) -> int:
    """Return the most output tokens by the caller, the model and its context window."""
    if facts.max_output_tokens is not None:
        return max(1, min(facts.max_output_tokens, card.max_output_tokens, free_tokens))
    if card.provider in _LIMIT_DEMANDED:  # beside the upper estimate of the input, for the limit that is sent
        free_tokens = max(card.context_window - facts.input_tokens, min(free_tokens, HELD_OUTPUT))
    return max(1, min(card.max_output_tokens, free_tokens))


def _affordable(row: Row, facts: Facts) -> bool:
    """Return whether `max_cost_usd` pays for an answer worth having, and limit the row's output to what it pays for."""
    if facts.max_cost_usd is None or dearest(row, facts) <= facts.max_cost_usd:
        return True
    rates, priced = rates_of(row.card, facts.priced), facts.priced
    paid = pricing.affordable_output(
        rates, facts.most_input(row.card), facts.max_cost_usd, long_writes=priced.long_writes, units=priced.units
    )
    if paid is None or paid < min(LEAST_OUTPUT, row.output):
        return False
    row.output, row.limited_by = paid, "max_cost_usd"
    return True


def _without_price(priced: PricedUse, card: ModelCard) -> Removal | None:
    """Return the reason against a model that has no price for what the request requires."""
    usual = card.rates if card.provider == priced.provider else None
    if priced.mode and (usual is None or pricing.in_mode(usual, priced.mode) is None):
        return Removal(Code.NO_PRICE, f"{priced.mode.replace('+', ', ')} has no price for it", priced.mode.partition("=")[0])
    if priced.required and priced.required in dropped(card, priced):
        return Removal(Code.NO_PRICE, f"the required tool {priced.required} has no price for it", "tool_choice")
    return None


def dropped(card: ModelCard, priced: PricedUse) -> tuple[str, ...]:
    """Return the offered tools of the vendor that this model is not offered: it has no price for them, or does not have them."""
    if not priced.units:
        return ()
    here = (card.provider, card.endpoint) == (priced.provider, priced.endpoint)
    known = dict(card.rates.units) if here and card.rates is not None else {}
    return tuple(name for name, _ in priced.units if name not in known)


def rates_of(card: ModelCard, priced: PricedUse) -> pricing.Rates:
    """Return the rates of the model in the way of processing that the request asks for; the ceiling without a price."""
    rates = card.rates or pricing.ceiling_rates()
    return pricing.in_mode(rates, priced.mode) or rates if priced.mode else rates


def current(card: ModelCard, by_slug: Mapping[str, ModelCard], notes: list[str]) -> ModelCard:
    """Return the card, or for a retired model its replacement, with a note about it."""
    seen = {card.slug}
    while card.lifecycle == "retired" and card.replaced_by in by_slug and card.replaced_by not in seen:
        notes.append(f"{card.slug} is retired and replaced by {card.replaced_by}.")
        card = by_slug[card.replaced_by]
        seen.add(card.slug)
    return card


def refusal(rows: list[Row]) -> Exception:
    """Return the error for a caller whose named models are all unusable."""
    removed = _removed(rows)
    first = rows[0]
    if any(row.removed_for({Code.MAX_COST}) for row in rows):
        return _too_expensive(removed)
    assert first.removed is not None
    if first.removed.code is Code.NO_PRICE:
        return _no_price(first, removed)
    if first.removed.code in removal.UNAVAILABLE:
        return ModelNotFound(f"{first.card.slug} is not available here: {first.removed}.", param="model", details={"candidates": removed})
    return InvalidRequest(
        f"{first.card.slug} cannot take this request: {first.removed}.",
        param="model",
        code="model_unfit",
        details={"candidates": removed},
    )


def last_resort(rows: list[Row]) -> list[Row]:
    """Return the rows that `auto` uses if it has no candidate, because some model may still answer.

    First models with an open breaker, then deprecated ones, last those without a price, which are charged at the ceiling;
    only the default model if it is among them. Raises BudgetExceeded or NoModelAvailable.
    """
    soft = [row for row in rows if row.removed_for(removal.SOFT)]
    priced = [row for row in soft if row.card.rates is not None]
    deprecated = [
        row for row in rows if row.removed_for({Code.ONLY_BY_NAME}) and row.card.lifecycle == "deprecated" and row.card.rates is not None
    ]
    pool = priced or deprecated or soft
    if not pool:
        removed = _removed(rows)
        if any(row.removed_for({Code.MAX_COST}) for row in rows):
            raise _too_expensive(removed)
        if (row := next((row for row in rows if row.removed_for({Code.NO_PRICE})), None)) is not None:
            raise _no_price(row, removed)
        raise NoModelAvailable("No model here can take this request.", code="no_model_fits", details={"candidates": removed})
    pool = [row for row in pool if row.card.slug == settings.DEFAULT_MODEL] or pool
    for row in pool:
        row.removed = None
    return pool


def dearest(row: Row, facts: Facts, most: int | None = None) -> Decimal:
    """Return the most that the call can cost with this model, in USD, for an answer of at most `most` tokens."""
    output, priced = row.output if most is None else min(row.output, most), facts.priced
    rates = rates_of(row.card, priced)
    return pricing.highest_cost(rates, facts.most_input(row.card), output, long_writes=priced.long_writes, units=priced.units)


def _removed(rows: list[Row]) -> list[dict[str, str | None]]:
    return [{"model": row.card.slug, **row.removed_json()} for row in rows]


def _no_price(row: Row, removed: list[dict[str, str | None]]) -> InvalidRequest:
    assert row.removed is not None
    message = f"{row.card.slug} cannot take this request: {row.removed}."
    return InvalidRequest(message, param=row.removed.param, code="unsupported_value", details={"candidates": removed})


def _too_expensive(removed: list[dict[str, str | None]]) -> BudgetExceeded:
    return BudgetExceeded("No model fits max_cost_usd.", code="max_cost_exceeded", param="max_cost_usd", details={"candidates": removed})


_BY_GOAL: dict[str, Callable[[Row], tuple[Any, ...]]] = {
    User.Goal.BALANCED: lambda row: (-(row.value or 0), -row.quality, row.cost, not row.wrote_before, row.card.slug),
    User.Goal.CHEAPEST: lambda row: (-(row.value or 0), -row.quality, row.cost, not row.wrote_before, row.card.slug),
    User.Goal.FASTEST: lambda row: (row.seconds, -row.quality, row.cost, not row.wrote_before, row.card.slug),
    User.Goal.BEST: lambda row: (-row.quality, row.cost, row.seconds, not row.wrote_before, row.card.slug),
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


def expected_cost(card: ModelCard, tokens: int, output: int, *, cached: int = 0) -> float:
    """Return what `pricing.cost` charges for these tokens, in USD. A model without a price counts at the ceiling.

    `cached`: the tokens of the input that the model reads from its prompt cache.
    """
    threshold, base, long = _float_rates(card)
    into, out, from_cache = long if threshold is not None and tokens > threshold else base
    known = min(cached, tokens)
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
