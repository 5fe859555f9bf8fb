"""The values of routing: the facts of a request, and one model under consideration."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from accounts.models import User
from billing.catalogue.snapshot import ModelCard

GOALS = tuple(User.Goal.values)


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
    difficulty: float = 0.5


@dataclass(slots=True)
class Row:
    """One model under consideration. `soft`: the reason in `removed` may be overruled.

    `cost` and `value` are USD; `chance` is the probability of an answer that is good enough (scores.py).
    `value` is None for a goal that orders by a single number.
    """

    card: ModelCard
    output: int = 0
    quality: float = 0.0
    chance: float = 0.0
    cost: float = 0.0
    seconds: float = 0.0
    value: float | None = None
    good_enough: bool = False
    removed: str | None = None
    soft: bool = False
