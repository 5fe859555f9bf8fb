"""Which model: from what is asked, what there is and how it does, to ranked candidates and the reason. Pure.

Hard filters first (a model that cannot do it), then soft ones (a breaker that is open), then scores for cost, speed and
quality, each from 0 to 1, weighted by the goal. Every model and what removed it stands in the explanation.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import log
from typing import Any

from django.conf import settings

from agents.health import HEALTHY, ModelHealth, connection_key
from agents.tokens import typical
from aiagents.lib.errors import BudgetExceeded, InvalidRequest, ModelNotFound, NoModelAvailable
from billing import pricing
from billing.catalogue import ModelCard

GOALS = ("balanced", "cheapest", "fastest", "best")
# cost, speed, quality. `balanced` shifts between cost and quality with the difficulty of the request.
_WEIGHTS = {"cheapest": (0.90, 0.02, 0.08), "fastest": (0.10, 0.80, 0.10), "best": (0.05, 0.05, 0.90)}
# An answer's usual length, where the limit allows more: for comparing prices and times, not for holds.
_USUAL_OUTPUT = 400
# Live measurements count as much as the catalogue's priors after this many calls.
_PRIOR_SAMPLES = 5
# The second candidate comes from another vendor when it costs at most this much of the score: outages are a vendor's.
_NEAR = 0.15
# Part of the input that a conversation's model finds in its prompt cache, and a little for an even voice.
_CACHED_SHARE, _SAME_VOICE = 0.8, 0.02
_MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What routing needs to know of a request. `requested`: a slug, `auto`, or `auto:<goal>`."""

    requested: str
    goal: str
    needs: frozenset[str]
    input_tokens: int
    max_output_tokens: int | None = None
    fallbacks: tuple[str, ...] = ()
    max_cost_usd: Decimal | None = None
    sticky: str | None = None
    budget_left: Decimal | None = None
    difficulty: float = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be called: with this limit on its output, probably for `estimate_usd`, at most for `dearest_usd`."""

    card: ModelCard
    output_tokens: int
    estimate_usd: float
    dearest_usd: Decimal
    scores: Mapping[str, float]
    total: float


@dataclass(frozen=True, slots=True)
class Route:
    candidates: tuple[Candidate, ...]
    explanation: dict[str, Any]
    goal: str


@dataclass(slots=True)
class _Row:
    """One model under consideration."""

    card: ModelCard
    output: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    removed: str | None = None
    soft: bool = False
    scores: dict[str, float] | None = None
    total: float = 0.0


def rank(facts: Facts, cards: Iterable[ModelCard], health: Mapping[str, ModelHealth], configured: Container[str]) -> Route:
    """The models to try, best first, and why.

    Raises ModelNotFound for an unknown name, InvalidRequest where the named model cannot do what is asked,
    BudgetExceeded where nothing fits `max_cost_usd`, NoModelAvailable where nothing is left at all.
    """
    by_slug = {card.slug: card for card in cards}
    named, _, suffix = facts.requested.partition(":")
    if named == "auto":
        goal = suffix or facts.goal or "balanced"
        if goal not in GOALS:
            raise InvalidRequest(f"auto:{goal[:40]} is not a goal; use {', '.join(GOALS)}.", param="model")
        return _auto(facts, goal, by_slug, health, configured)
    return _explicit(facts, by_slug, health, configured)


def _explicit(facts: Facts, by_slug: dict[str, ModelCard], health: Mapping[str, ModelHealth], configured: Container[str]) -> Route:
    goal = facts.goal if facts.goal in GOALS else "balanced"
    rows: list[_Row] = []
    notes: list[str] = []
    for position, slug in enumerate(dict.fromkeys((facts.requested, *facts.fallbacks))):
        if slug.partition(":")[0] == "auto" and position:
            auto = _auto(facts, slug.partition(":")[2] or goal, by_slug, health, configured)
            rows += [
                _row(facts, one.card, health, configured) for one in auto.candidates if one.card.slug not in {row.card.slug for row in rows}
            ]
            continue
        if (card := by_slug.get(slug)) is None:
            raise ModelNotFound(f"The model {slug[:100]!r} does not exist.", param="model" if not position else "fallbacks")
        row = _row(facts, _current(card, by_slug, notes), health, configured)
        # Who names a model gets it: an open breaker or an unknown price does not overrule a person.
        if row.soft:
            row.removed = None
        rows.append(row)
    kept = [row for row in rows if row.removed is None]
    if not kept:
        raise _refusal(facts, rows)
    _score(rows, facts, goal)
    chosen = tuple(_candidate(row, facts) for row in kept[:_MOST_CANDIDATES])
    reason = f"{chosen[0].card.slug} was asked for."
    if chosen[0].card.slug != rows[0].card.slug:
        reason = f"{rows[0].card.slug} was asked for, but {rows[0].removed}; {chosen[0].card.slug} is the next named."
    return Route(chosen, _explanation(facts, goal, rows, chosen, " ".join([reason, *notes])), goal)


def _auto(facts: Facts, goal: str, by_slug: dict[str, ModelCard], health: Mapping[str, ModelHealth], configured: Container[str]) -> Route:
    rows = [_row(facts, card, health, configured) for card in by_slug.values()]
    for row in rows:
        if row.removed is None and row.card.lifecycle != "active":
            row.removed = f"it is {row.card.lifecycle}: used only by name"
        elif row.removed is None and row.card.rates is None:
            row.removed, row.soft = "its price is unknown: used only by name", True
    kept = [row for row in rows if row.removed is None]
    note = ""
    if not kept:
        kept, note = _last_resort(facts, rows)
    _score(kept, facts, goal)
    kept.sort(key=lambda row: (-row.total, row.cost, -row.card.quality, row.card.slug))
    _spread(kept)
    chosen = tuple(_candidate(row, facts) for row in kept[:_MOST_CANDIDATES])
    kept_ids = {id(row) for row in kept}
    ordered = kept + [row for row in rows if id(row) not in kept_ids]
    reason = note or _reason(goal, kept[0], kept, facts)
    return Route(chosen, _explanation(facts, goal, ordered, chosen, reason), goal)


def _row(facts: Facts, card: ModelCard, health: Mapping[str, ModelHealth], configured: Container[str]) -> _Row:
    """The model with its expected cost and time, and what stands against it."""
    row = _Row(card)
    tokens = typical(facts.input_tokens)
    room = card.context_window - tokens
    wanted = facts.max_output_tokens or settings.LLM_DEFAULT_MAX_OUTPUT_TOKENS
    row.output = max(1, min(wanted, card.max_output_tokens, room))
    usual = min(_USUAL_OUTPUT, row.output)
    rates = _float_rates(card)
    row.cost = (tokens * rates[0] + usual * rates[1]) / 1e6
    if facts.sticky == card.slug:
        row.cost = (tokens * (_CACHED_SHARE * rates[2] + (1 - _CACHED_SHARE) * rates[0]) + usual * rates[1]) / 1e6
    live = health.get(card.slug, HEALTHY)
    row.seconds = _seconds(card, live, usual)
    missing = facts.needs - card.capabilities
    connection = health.get(connection_key(card), HEALTHY)
    if card.slug not in configured:
        row.removed = "its vendor is not configured"
    elif not card.enabled:
        row.removed = "it is switched off"
    elif card.lifecycle == "retired":
        row.removed = "it is retired"
    elif missing:
        row.removed = f"it cannot do {', '.join(sorted(missing))}"
    elif room < 1:
        row.removed = f"about {tokens} input tokens do not fit its window of {card.context_window}"
    elif facts.max_cost_usd is not None and _dearest(row, facts) > facts.max_cost_usd:
        row.removed = "it may cost more than max_cost_usd"
    elif facts.budget_left is not None and _dearest(row, facts) > facts.budget_left:
        row.removed = "it may cost more than the budget that is left"
    elif live.state == "open" or connection.state == "open":
        row.removed, row.soft = "it failed too often just now (its circuit breaker is open)", True
    return row


def _current(card: ModelCard, by_slug: dict[str, ModelCard], notes: list[str]) -> ModelCard:
    """The card itself, or for a retired model the one that replaced it."""
    seen = {card.slug}
    while card.lifecycle == "retired" and card.replaced_by in by_slug and card.replaced_by not in seen:
        notes.append(f"{card.slug} is retired and replaced by {card.replaced_by}.")
        card = by_slug[card.replaced_by]
        seen.add(card.slug)
    return card


def _refusal(facts: Facts, rows: list[_Row]) -> Exception:
    removed = [{"model": row.card.slug, "removed": row.removed} for row in rows]
    first = rows[0]
    if any("cost" in (row.removed or "") for row in rows):
        return BudgetExceeded(
            "No model fits max_cost_usd.", code="max_cost_exceeded", param="max_cost_usd", details={"candidates": removed}
        )
    if first.removed in ("its vendor is not configured", "it is switched off", "it is retired"):
        return ModelNotFound(f"{first.card.slug} is not available here: {first.removed}.", param="model", details={"candidates": removed})
    return InvalidRequest(
        f"{first.card.slug} cannot take this request: {first.removed}.", param="model", code="model_unfit", details={"candidates": removed}
    )


def _last_resort(facts: Facts, rows: list[_Row]) -> tuple[list[_Row], str]:
    """`auto` does not fail what a model could answer: softly removed ones come back, the default model first."""
    soft = [row for row in rows if row.soft]
    deprecated = [row for row in rows if row.removed and row.removed.startswith("it is deprecated")]
    pool = soft or deprecated
    if not pool:
        removed = [{"model": row.card.slug, "removed": row.removed} for row in rows]
        if any("cost" in (row.removed or "") for row in rows):
            raise BudgetExceeded(
                "No model fits max_cost_usd.", code="max_cost_exceeded", param="max_cost_usd", details={"candidates": removed}
            )
        raise NoModelAvailable("No model here can take this request.", code="no_model_fits", details={"candidates": removed})
    pool = [row for row in pool if row.card.slug == settings.DEFAULT_MODEL] or pool
    for row in pool:
        row.removed = None
    return pool, f"No model is without objection now; {pool[0].card.slug} is tried all the same."


def _score(rows: list[_Row], facts: Facts, goal: str) -> None:
    if not rows:
        return
    costs, times = [log(max(row.cost, 1e-9)) for row in rows], [log(max(row.seconds, 0.01)) for row in rows]
    weights = _WEIGHTS.get(goal) or (0.55 - 0.4 * facts.difficulty, 0.10, 0.35 + 0.4 * facts.difficulty)
    # For `balanced` a model needs to be good enough, not best: the bar rises with the difficulty.
    enough = 35 + 65 * facts.difficulty if goal == "balanced" else 100
    for row, cost, seconds in zip(rows, costs, times, strict=True):
        scores = {"cost": _share(cost, costs), "speed": _share(seconds, times), "quality": min(1.0, row.card.quality / enough)}
        row.scores = {name: round(value, 4) for name, value in scores.items()}
        row.total = weights[0] * scores["cost"] + weights[1] * scores["speed"] + weights[2] * scores["quality"]
        if facts.sticky == row.card.slug:
            row.total += _SAME_VOICE
        row.total = round(row.total, 6)


def _share(value: float, among: list[float]) -> float:
    """1 for the least, 0 for the most, by where it stands between them."""
    low, high = min(among), max(among)
    return 1.0 if high - low < 1e-12 else (high - value) / (high - low)


def _spread(rows: list[_Row]) -> None:
    """Second comes another vendor's model where one is near."""
    if len(rows) < 3 or rows[1].card.provider != rows[0].card.provider:
        return
    for position in range(2, len(rows)):
        if rows[position].card.provider != rows[0].card.provider:
            if rows[1].total - rows[position].total <= _NEAR:
                rows.insert(1, rows.pop(position))
            return


def _seconds(card: ModelCard, live: ModelHealth, output: int) -> float:
    """Expected time of an answer: measured values weigh in as samples come."""
    trust = live.samples / (live.samples + _PRIOR_SAMPLES)
    ttft = card.ttft_ms if live.ttft_ms is None else trust * live.ttft_ms + (1 - trust) * card.ttft_ms
    speed = (
        card.tokens_per_second if live.tokens_per_second is None else trust * live.tokens_per_second + (1 - trust) * card.tokens_per_second
    )
    return ttft / 1000 + output / max(speed, 0.1)


_rates_cache: dict[int, tuple[pricing.Rates | None, tuple[float, float, float]]] = {}


def _float_rates(card: ModelCard) -> tuple[float, float, float]:
    """Input, output and cached-input rates as floats: for scores only."""
    rates = card.rates
    found = _rates_cache.get(id(rates))
    if found is None or found[0] is not rates:
        if len(_rates_cache) > 2000:
            _rates_cache.clear()
        used = rates or pricing.ceiling_rates()
        cached = used.cached_input if used.cached_input is not None else used.input
        found = _rates_cache[id(rates)] = (rates, (float(used.input), float(used.output), float(cached)))
    return found[1]


def _dearest(row: _Row, facts: Facts) -> Decimal:
    return pricing.dearest(row.card.rates or pricing.ceiling_rates(), facts.input_tokens, row.output)


def _candidate(row: _Row, facts: Facts) -> Candidate:
    return Candidate(row.card, row.output, row.cost, _dearest(row, facts), row.scores or {}, row.total)


def _reason(goal: str, first: _Row, kept: list[_Row], facts: Facts) -> str:
    what = {
        "cheapest": "is the cheapest for this request",
        "fastest": "should answer soonest",
        "best": "has the highest quality",
        "balanced": f"is the best balance of cost, speed and quality for a request of difficulty {facts.difficulty:.2f}",
    }[goal]
    voice = " It also wrote before in this conversation, so part of the input is cached." if facts.sticky == first.card.slug else ""
    return f"{first.card.slug} {what} among {len(kept)} models that can do it.{voice}"


def _explanation(facts: Facts, goal: str, rows: list[_Row], chosen: tuple[Candidate, ...], reason: str) -> dict[str, Any]:
    first = chosen[0]
    return {
        "requested": facts.requested,
        "goal": goal,
        "chosen": first.card.slug,
        "reason": reason,
        "difficulty": facts.difficulty,
        "sticky": facts.sticky,
        "candidates": [
            {
                "model": row.card.slug,
                "provider": row.card.provider,
                "scores": row.scores,
                "total": row.total if row.scores else None,
                "estimated_cost_usd": f"{row.cost:.8f}",
                "expected_seconds": round(row.seconds, 3),
                "removed": row.removed,
            }
            for row in rows
        ],
        "baseline": _baseline(facts, rows, first),
    }


def _baseline(facts: Facts, rows: list[_Row], first: Candidate) -> dict[str, str] | None:
    """What the baseline model would cost, and what choosing saves; None where it is not among the rows."""
    for row in rows:
        if row.card.slug == settings.ROUTING_BASELINE_MODEL and row.card.rates is not None:
            return {
                "model": row.card.slug,
                "estimated_cost_usd": f"{row.cost:.8f}",
                "saving_usd": f"{row.cost - first.estimate_usd:.8f}",
            }
    return None
