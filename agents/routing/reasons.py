"""Sentences that explain the first choice with the numbers of the routing explanation. Pure functions."""

from __future__ import annotations

from django.conf import settings

from accounts.models import User
from agents.routing.candidates import Facts, Row
from agents.routing.scores import need
from billing.catalogue.snapshot import ModelCard


def reason(goal: str, kept: list[Row], facts: Facts, *, forced: bool) -> str:
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
    parts = [choice, _numbers(first, facts), *unknown_price(first.card)]
    if facts.sticky == name:
        parts.append("It also wrote before in this conversation, so part of the input is cached.")
    return " ".join(parts)


def unknown_price(card: ModelCard) -> list[str]:
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
