"""The fields with which each generation of Claude takes an effort or a thinking budget, as one table.

Sources: platform.claude.com, "adaptive thinking", "effort" and the overview pages of Sonnet 5, Opus 5 and the 5.5 models
(2026-11); the SDK's ThinkingConfigParam.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EFFORTS = ("low", "medium", "high", "xhigh", "max")
# Tokens of thinking for an effort, where the model takes a budget. The API's least is 1,024.
_BUDGETS = {"low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 49152}
LEAST_BUDGET = 1024


@dataclass(frozen=True, slots=True)
class Generation:
    """`adaptive`: the model takes an effort, else a budget. `off` is what switches thinking off: nothing for models that
    think only when a request asks for it. `always`: thinking cannot be switched off, and no tool can be forced.
    """

    adaptive: bool = True
    off: Mapping[str, str] | None = None
    always: bool = False
    efforts: tuple[str, ...] = EFFORTS


_DISABLED = {"type": "disabled"}
# The first pattern that the vendor's name of the model holds.
_TABLE: tuple[tuple[re.Pattern[str], Generation], ...] = (
    (re.compile(r"claude-(?:[123]|instant)"), Generation(adaptive=False)),
    (re.compile(r"claude-\w+-4-6"), Generation(efforts=("low", "medium", "high", "max"))),
    (re.compile(r"claude-\w+-4-[789](?!\d)"), Generation()),
    (re.compile(r"claude-\w+-4(?!\d)"), Generation(adaptive=False)),
    (re.compile(r"claude-(?:fable|mythos)|claude-opus-5-5"), Generation(always=True)),
    (re.compile(r"claude-sonnet-5-5"), Generation(off={"type": "between_tools"})),
    (re.compile(r"claude-"), Generation(off=_DISABLED)),
)


def of(model: str) -> Generation:
    """Return the generation of a model. A model whose name is not one of Claude's takes an effort."""
    return next((found for pattern, found in _TABLE if pattern.search(model)), Generation())


def fields(
    model: str, effort: str | None, limit: int, *, forced: bool, unsigned: bool = False
) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the fields `thinking` and `output_config.effort` for an effort of OpenAI's; None leaves a field out.

    `limit` is the limit of output tokens, which a budget must stay below. `forced`: the model must call a tool, which
    excludes thinking. `unsigned`: the last tool call has no thinking before it, after which a budget is refused.
    """
    generation = of(model)
    if generation.always:
        return None, _nearest("low" if effort == "none" else effort, generation)
    if forced or effort == "none":
        return generation.off, None
    if effort is None:
        return None, None
    if generation.adaptive:
        return {"type": "adaptive"}, _nearest(effort, generation)
    if unsigned:
        return None, None
    # Half of the limit stays for the answer.
    budget = min(_BUDGETS.get(effort, _BUDGETS["low"]), limit // 2)
    return ({"type": "enabled", "budget_tokens": budget} if budget >= LEAST_BUDGET else None), None


def below(body: Mapping[str, Any], limit: int) -> Mapping[str, Any]:
    """Return a client's body whose thinking budget fits below `limit`, which is less than the client's own.

    The vendor refuses a budget that reaches `max_tokens`. If half of the limit is below the least budget, the model does not think.
    """
    thought = body.get("thinking")
    if not isinstance(thought, Mapping) or thought.get("type") != "enabled" or thought["budget_tokens"] < limit:
        return body
    if limit // 2 < LEAST_BUDGET:
        return {name: value for name, value in body.items() if name != "thinking"}
    return {**body, "thinking": {**thought, "budget_tokens": limit // 2}}


def _nearest(effort: str | None, generation: Generation) -> str | None:
    """Return the effort, or the next lower one that the model has."""
    if effort is None:
        return None
    wanted = EFFORTS.index(effort) if effort in EFFORTS else 0  # minimal
    return next(name for name in reversed(EFFORTS[: wanted + 1]) if name in generation.efforts)
