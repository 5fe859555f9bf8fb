"""The weights of `auto` routing for each goal."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from aiagents.settings.env import Env

_NAME = re.compile(r"routing_([a-z]+)_(spread|good_enough|value_usd|second_usd)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingWeights:
    """The constants of docs/adr/0084-routing-rule.md for one goal.

    `spread`: points of quality. `good_enough`: the least chance of a good answer, 0.5 to 1. `value_usd`: USD that a good answer
    is worth, `second_usd`: USD per second of waiting; both are None for a goal that ranks by one number only.
    """

    spread: float
    good_enough: float
    value_usd: float | None = None
    second_usd: float | None = None


def weights_by_goal(env: Env) -> dict[str, RoutingWeights]:
    """The environment's ROUTING_<GOAL>_<NUMBER>, by the goal's name in lower case."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for name in Env.model_fields:
        if match := _NAME.fullmatch(name):
            found[match[1]][match[2]] = getattr(env, name)
    return {goal: RoutingWeights(**numbers) for goal, numbers in found.items()}
