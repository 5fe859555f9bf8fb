"""Ranks the candidate models of a request and explains the order. Pure functions.

Hard filters come first (missing capabilities), then soft ones (an open circuit breaker, an unknown price). The rest are
valued in US dollars and ordered by the goal (scores.py). The explanation lists every model and why it was removed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings

from accounts.models import User
from agents.routing import filters as routing_filters
from agents.routing import reasons, scores
from agents.routing.candidates import GOALS, Facts, Row
from agents.routing.filters import dearest
from agents.routing.health import ModelHealth
from aiagents.core.errors import InvalidRequest, ModelNotFound
from billing.catalogue.snapshot import EMBEDDINGS, ModelCard

__all__ = ["GOALS", "Candidate", "Facts", "Route", "rank"]
AUTO = "auto"
_MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be called, its limit of output tokens, its expected cost and its highest possible cost."""

    card: ModelCard
    output_tokens: int
    estimate_usd: float
    dearest_usd: Decimal


@dataclass(frozen=True, slots=True)
class Route:
    candidates: tuple[Candidate, ...]
    explanation: dict[str, Any]
    goal: str


def weighs(requested: str, fallbacks: tuple[str, ...] = ()) -> bool:
    """Return whether routing chooses among models. Only then does the request's difficulty matter."""
    return any(name.partition(":")[0] == "auto" for name in (requested, *fallbacks))


def rank(
    facts: Facts, cards: Mapping[str, ModelCard] | Iterable[ModelCard], health: Mapping[str, ModelHealth], configured: Container[str]
) -> Route:
    """Return the models to try, best first, and the explanation. `cards` are all models, perhaps by slug.

    Raises ModelNotFound for an unknown name, InvalidRequest if the named model cannot serve the request,
    BudgetExceeded if no model fits `max_cost_usd`, NoModelAvailable if no model is left.
    """
    by_slug = cards if isinstance(cards, Mapping) else {card.slug: card for card in cards}
    named, _, suffix = facts.requested.partition(":")
    if named == AUTO:
        return _auto(facts, _goal(suffix or facts.goal or User.Goal.BALANCED.value, "model"), by_slug, health, configured)
    return _explicit(facts, by_slug, health, configured)


def _explicit(facts: Facts, by_slug: Mapping[str, ModelCard], health: Mapping[str, ModelHealth], configured: Container[str]) -> Route:
    goal = facts.goal if facts.goal in GOALS else User.Goal.BALANCED.value
    rows: list[Row] = []
    notes: list[str] = []
    for position, slug in enumerate(dict.fromkeys((facts.requested, *facts.fallbacks))):
        if slug.partition(":")[0] == AUTO and position:
            auto = _auto(facts, _goal(slug.partition(":")[2] or goal, "fallbacks"), by_slug, health, configured)
            rows += [
                routing_filters.row(facts, one.card, health, configured)
                for one in auto.candidates
                if one.card.slug not in {row.card.slug for row in rows}
            ]
            continue
        if (card := by_slug.get(slug)) is None:
            raise ModelNotFound(f"The model {slug[:100]!r} does not exist.", param="model" if not position else "fallbacks")
        row = routing_filters.row(facts, routing_filters.current(card, by_slug, notes), health, configured)
        # A named model is used in spite of an open breaker or an unknown price.
        if row.soft:
            row.removed = None
        rows.append(row)
    kept = [row for row in rows if row.removed is None]
    if not kept:
        raise routing_filters.refusal(rows)
    for row in rows:
        scores.weigh(row, facts, goal)
    chosen = tuple(_candidate(row, facts) for row in kept[:_MOST_CANDIDATES])
    reason = f"{chosen[0].card.slug} was requested."
    if chosen[0].card.slug != rows[0].card.slug:
        reason = f"{rows[0].card.slug} was requested, but {rows[0].removed}; {chosen[0].card.slug} is the next named model."
    notes += reasons.unknown_price(chosen[0].card)
    return Route(chosen, _explanation(facts, goal, rows, chosen, " ".join([reason, *notes])), goal)


def _auto(
    facts: Facts, goal: str, by_slug: Mapping[str, ModelCard], health: Mapping[str, ModelHealth], configured: Container[str]
) -> Route:
    rows = [routing_filters.row(facts, card, health, configured) for card in by_slug.values() if EMBEDDINGS not in card.capabilities]
    for row in rows:
        if row.removed is None and row.card.lifecycle != "active":
            row.removed = f"it is {row.card.lifecycle}: used only by name"
        elif row.removed is None and row.card.rates is None:
            row.removed, row.soft = "its price is unknown: used only by name", True
    kept = [row for row in rows if row.removed is None]
    forced = not kept
    if forced:
        kept = routing_filters.last_resort(rows)
    for row in rows:
        scores.weigh(row, facts, goal)
    kept = scores.order(kept, goal)
    chosen = tuple(_candidate(row, facts) for row in kept[:_MOST_CANDIDATES])
    kept_ids = {id(row) for row in kept}
    ordered = kept + [row for row in rows if id(row) not in kept_ids]
    reason = reasons.reason(goal, kept, facts, forced=forced)
    return Route(chosen, _explanation(facts, goal, ordered, chosen, reason), goal)


def _goal(name: str, param: str) -> str:
    if name not in GOALS:
        raise InvalidRequest(f"auto:{name[:40]} is not a goal; use {', '.join(GOALS)}.", param=param)
    return name


def _candidate(row: Row, facts: Facts) -> Candidate:
    return Candidate(row.card, row.output, row.cost, dearest(row, facts))


def _explanation(facts: Facts, goal: str, rows: list[Row], chosen: tuple[Candidate, ...], reason: str) -> dict[str, Any]:
    first, weights = chosen[0], settings.ROUTING_WEIGHTS[goal]
    estimated = weighs(facts.requested, facts.fallbacks)
    return {
        "requested": facts.requested,
        "goal": goal,
        "chosen": first.card.slug,
        "reason": reason,
        "difficulty": facts.difficulty if estimated else None,
        "need": round(scores.need(facts.difficulty), 3),
        "weights": {
            "value_usd": _usd(weights.value_usd),
            "second_usd": _usd(weights.second_usd),
            "spread": weights.spread,
            "good_enough": weights.good_enough,
        },
        "sticky": facts.sticky,
        "candidates": [
            {
                "model": row.card.slug,
                "provider": row.card.provider,
                "quality": row.quality,
                "probability": round(row.chance, 6),
                "good_enough": row.good_enough,
                "value_usd": _usd(row.value),
                "feedback": _feedback(row.card) if row.card.votes_up or row.card.votes_down else None,
                "estimated_cost_usd": f"{row.cost:.8f}",
                "price_known": row.card.rates is not None,
                "expected_seconds": round(row.seconds, 3),
                "removed": row.removed,
            }
            for row in rows
        ],
        "baseline": _baseline(facts, rows, first),
    }


def _usd(amount: float | None) -> str | None:
    return None if amount is None else f"{amount:.8f}"


def _feedback(card: ModelCard) -> dict[str, Any]:
    """Return the votes of users and the points that they add to the model's quality."""
    return {"up": card.votes_up, "down": card.votes_down, "adjustment": card.votes_points}


def _baseline(facts: Facts, rows: list[Row], first: Candidate) -> dict[str, str] | None:
    """Return the baseline model's cost and the saving against it; None if it is not among the rows."""
    for row in rows:
        if row.card.slug == settings.ROUTING_BASELINE_MODEL and row.card.rates is not None:
            return {
                "model": row.card.slug,
                "estimated_cost_usd": f"{row.cost:.8f}",
                "saving_usd": f"{row.cost - first.estimate_usd:.8f}",
            }
    return None
