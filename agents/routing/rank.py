"""Ranks the candidate models of a request and explains the order. Pure functions.

candidates.py has the reasons against a model, its value and the order. The explanation lists every model and why it was
removed. Sentences explain the first choice with the numbers of the explanation.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.conf import settings

from accounts.models import User
from agents.messages import NOTHING_PRICED, CompletionRequest, Image, PricedUse
from agents.routing import candidates, removal
from agents.routing.candidates import GOALS, HELD_OUTPUT, LEAST_OUTPUT, Facts, LimitedBy, Row, dearest, need
from agents.routing.health import ModelHealth
from agents.routing.removal import Code, Removal
from aiagents.core.errors import InvalidRequest, ModelNotFound
from billing import pricing
from billing.catalogue.snapshot import EMBEDDINGS, ModelCard

__all__ = ["GOALS", "Candidate", "Facts", "Route", "difficulty", "rank"]
AUTO = "auto"
_MOST_CANDIDATES = 5
_MOST_READ = 20_000
# The search from SELECT to FROM stops at the next SELECT, else a text of many SELECTs takes quadratic time.
_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+|\bfunction\b|=>|#include|\bSELECT\b(?:(?!\bSELECT\b).)+?\bFROM\b|</\w+>|Traceback \(", re.IGNORECASE
)
_THINKING = re.compile(
    r"\b(prove|proof|derive|theorem|integral|derivative|equation|complexity|algorithm|optimi[sz]\w*|refactor\w*|debug\w*|architect\w*|"
    r"analy[sz]\w*|evaluat\w*|trade-?offs?|compare|critique|strateg\w*|step[ -]by[ -]step|reason\w*|design|legal|diagnos\w*|forecast\w*|"
    r"beweis\w*|erkläre|analysiere|démontre\w*|analys\w*|explica\w*)\b",
    re.IGNORECASE,
)
_EASY = re.compile(
    r"^\s*(hi|hello|hey|thanks?|thank you|ok(ay)?|yes|no|good (morning|evening)|translate|summari[sz]e|rephrase|"
    r"fix (the )?(typo|grammar))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be called, the most tokens of its answer, its expected cost and its highest possible cost.

    `usual_usd` and `least_usd` are the highest costs of an answer of HELD_OUTPUT and of LEAST_OUTPUT tokens. `limited_by`
    says what made `output_tokens` fewer than the model and the caller allow.
    """

    card: ModelCard
    output_tokens: int
    estimate_usd: float
    dearest_usd: Decimal
    usual_usd: Decimal
    least_usd: Decimal
    limited_by: LimitedBy = ""
    # What of the request has a price of its own.
    priced: PricedUse = NOTHING_PRICED
    # The most input tokens that this model can count.
    most_input: int = 0

    @property
    def rates(self) -> pricing.Rates:
        """The rates of the requested processing, or the ceiling for an unknown price."""
        return candidates.rates_of(self.card, self.priced)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The offered tools of the vendor that this model is not offered."""
        return candidates.dropped(self.card, self.priced)

    def within(self, amount: Decimal) -> Candidate:
        """Return the candidate with the output that `amount` (USD) pays for."""
        priced = self.priced
        paid = pricing.affordable_output(self.rates, self.most_input, amount, long_writes=priced.long_writes, units=priced.units)
        if paid is None or paid >= self.output_tokens:
            return self
        return replace(self, output_tokens=max(1, paid), limited_by="budget")


@dataclass(frozen=True, slots=True)
class Route:
    candidates: tuple[Candidate, ...]
    explanation: dict[str, Any]
    goal: str


def difficulty(request: CompletionRequest) -> float:
    """Return a heuristic difficulty of the last question, from 0 (small talk) to 1 (long, technical, with tools).

    It takes microseconds and calls no model. It errs towards hard: a strong model on an easy question costs cents, a weak
    model on a hard question costs the answer.
    """
    question = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    text = question[:_MOST_READ]
    score = 0.25 + min(0.2, len(question) / 8000)
    score += min(0.3, 0.12 * len(_THINKING.findall(text)))
    if _CODE.search(text):
        score += 0.2
    if request.tools:
        score += 0.1
    if request.response_format and request.response_format.get("type") == "json_schema":
        score += 0.05
    if request.reasoning_effort in ("medium", "high", "xhigh", "max"):
        score += 0.2
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        score += 0.05
    if len(question) < 200 and _EASY.match(text):
        score -= 0.2
    return round(min(1.0, max(0.0, score)), 3)


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
                candidates.row(facts, one.card, health, configured)
                for one in auto.candidates
                if one.card.slug not in {row.card.slug for row in rows}
            ]
            continue
        if (card := by_slug.get(slug)) is None:
            raise ModelNotFound(f"The model {slug[:100]!r} does not exist.", param="model" if not position else "fallbacks")
        row = candidates.row(facts, candidates.current(card, by_slug, notes), health, configured)
        # A named model is used in spite of an open breaker or an unknown price.
        if row.removed_for(removal.SOFT):
            row.removed = None
        rows.append(row)
    kept = [row for row in rows if row.removed is None]
    if not kept:
        raise candidates.refusal(rows)
    for row in rows:
        candidates.weigh(row, facts, goal)
    chosen = tuple(_candidate(row, facts) for row in kept[:_MOST_CANDIDATES])
    reason = f"{chosen[0].card.slug} was requested."
    if chosen[0].card.slug != rows[0].card.slug:
        reason = f"{rows[0].card.slug} was requested, but {rows[0].removed}; {chosen[0].card.slug} is the next named model."
    notes += _unknown_price(chosen[0].card)
    return Route(chosen, _explanation(facts, goal, rows, chosen, " ".join([reason, *notes])), goal)


def _auto(
    facts: Facts, goal: str, by_slug: Mapping[str, ModelCard], health: Mapping[str, ModelHealth], configured: Container[str]
) -> Route:
    rows = [candidates.row(facts, card, health, configured) for card in by_slug.values() if EMBEDDINGS not in card.capabilities]
    for row in rows:
        if row.removed is None and row.card.lifecycle != "active":
            row.removed = Removal(Code.ONLY_BY_NAME, f"it is {row.card.lifecycle}: used only by name")
        elif row.removed is None and row.card.rates is None:
            row.removed = removal.PRICE_UNKNOWN
    kept = [row for row in rows if row.removed is None]
    forced = not kept
    if forced:
        kept = candidates.last_resort(rows)
    for row in rows:
        candidates.weigh(row, facts, goal)
    kept = candidates.order(kept, goal)
    chosen = tuple(_candidate(row, facts) for row in kept[:_MOST_CANDIDATES])
    kept_ids = {id(row) for row in kept}
    ordered = kept + [row for row in rows if id(row) not in kept_ids]
    reason = _reason(goal, kept, facts, forced=forced)
    return Route(chosen, _explanation(facts, goal, ordered, chosen, reason), goal)


def _goal(name: str, param: str) -> str:
    if name not in GOALS:
        raise InvalidRequest(f"auto:{name[:40]} is not a goal; use {', '.join(GOALS)}.", param=param)
    return name


def _candidate(row: Row, facts: Facts) -> Candidate:
    usual, least = dearest(row, facts, HELD_OUTPUT), dearest(row, facts, LEAST_OUTPUT)
    return Candidate(
        row.card, row.output, row.cost, dearest(row, facts), usual, least, row.limited_by, facts.priced, facts.most_input(row.card)
    )


def _explanation(facts: Facts, goal: str, rows: list[Row], chosen: tuple[Candidate, ...], reason: str) -> dict[str, Any]:
    first, weights = chosen[0], settings.ROUTING_WEIGHTS[goal]
    estimated = weighs(facts.requested, facts.fallbacks)
    return {
        "requested": facts.requested,
        "goal": goal,
        "chosen": first.card.slug,
        "reason": reason,
        "difficulty": facts.difficulty if estimated else None,
        "need": round(need(facts.difficulty), 3),
        "weights": {
            "value_usd": _usd(weights.value_usd),
            "second_usd": _usd(weights.second_usd),
            "spread": weights.spread,
            "good_enough": weights.good_enough,
        },
        "sticky": facts.sticky,
        "cached_tokens": facts.cached_tokens,
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
                **row.removed_json(),
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


def _reason(goal: str, kept: list[Row], facts: Facts, *, forced: bool) -> str:
    """Return why the first of `kept` is chosen. `forced`: the filters had removed all of them."""
    first, name = kept[0], kept[0].card.slug
    able = [row for row in kept if row.good_enough]
    bar = f"a chance of {settings.ROUTING_WEIGHTS[goal].good_enough:.0%}"
    if forced:
        choice = f"The filters removed every model; {name} is tried as the last resort."
    elif goal == User.Goal.BEST:
        choice = f"{name} has the highest quality of {_models(len(kept))} that can do it{_equals(first, kept)}."
    elif not able:
        choice = f"No model that can do it has {bar} of a good answer; {name} has the highest quality of {len(kept)}{_equals(first, kept)}."
    else:
        most = "should answer soonest" if goal == User.Goal.FASTEST else f"is worth most by the weights of {goal}"
        choice = f"{name} {most} of {_models(len(able))} with at least {bar} of a good answer."
    parts = [choice, _numbers(first, facts), *_unknown_price(first.card)]
    if facts.sticky == name and facts.cached_tokens:
        parts.append(f"It also wrote before in this conversation, and then read {facts.cached_tokens:,} tokens from its cache.")
    return " ".join(parts)


def _unknown_price(card: ModelCard) -> list[str]:
    """Return one sentence for a model without a price, else no sentence."""
    if card.rates is not None:
        return []
    return [f"Its price is unknown: it is charged at the ceiling of ${settings.UNKNOWN_PRICE_CEILING_PER_MTOK} per million tokens."]


def _numbers(row: Row, facts: Facts) -> str:
    return (
        f"At quality {row.quality:.4g} for a need of {need(facts.difficulty):.3g} its chance is {row.chance:.1%}; "
        f"it should cost ${row.cost:.6f} and take {row.seconds:.1f} s{_worth(row)}."
    )


def _worth(row: Row) -> str:
    return "" if row.value is None else f", which makes it worth ${row.value:.6f}"


def _equals(first: Row, kept: list[Row]) -> str:
    alike = [row for row in kept if row.quality == first.quality]
    return f" and costs least of the {len(alike)} with that quality" if len(alike) > 1 else ""


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"
