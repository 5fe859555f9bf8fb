"""How good a model is for one request: cost, speed and quality, each from 0 to 1, weighted by the goal. Pure.

Cost is the catalogue's price, with the part of a conversation that is cached; speed is what was measured, or the catalogue's
word until it was; quality is the catalogue's word, moved by people's votes (billing/standing.py).
"""

from __future__ import annotations

from math import log

from agents.health import ModelHealth
from agents.router_rows import Facts, Row
from billing import pricing
from billing.catalogue import ModelCard

# cost, speed, quality. `balanced` shifts between cost and quality with the difficulty of the request.
_WEIGHTS = {"cheapest": (0.90, 0.02, 0.08), "fastest": (0.10, 0.80, 0.10), "best": (0.05, 0.05, 0.90)}
# An answer's usual length, where the limit allows more: for comparing prices and times, not for holds.
USUAL_OUTPUT = 400
# Live measurements count as much as the catalogue's priors after this many calls.
_PRIOR_SAMPLES = 5
# The second candidate comes from another vendor when it costs at most this much of the score: outages are a vendor's.
_NEAR = 0.15
# Part of the input that a conversation's model finds in its prompt cache, and a little for an even voice.
_CACHED_SHARE, _SAME_VOICE = 0.8, 0.02


def score(rows: list[Row], facts: Facts, goal: str) -> None:
    """Write scores and total into the rows, each measured against the others."""
    if not rows:
        return
    costs, times = [log(max(row.cost, 1e-9)) for row in rows], [log(max(row.seconds, 0.01)) for row in rows]
    cost_ends, time_ends = (min(costs), max(costs)), (min(times), max(times))
    weights = _WEIGHTS.get(goal) or (0.55 - 0.4 * facts.difficulty, 0.10, 0.35 + 0.4 * facts.difficulty)
    # For `balanced` a model needs to be good enough, not best: the bar rises with the difficulty.
    enough = 35 + 65 * facts.difficulty if goal == "balanced" else 100
    for row, cost, seconds in zip(rows, costs, times, strict=True):
        quality = min(1.0, row.card.quality_in_use / enough)
        scores = {"cost": _share(cost, *cost_ends), "speed": _share(seconds, *time_ends), "quality": quality}
        row.scores = {name: round(value, 4) for name, value in scores.items()}
        row.total = weights[0] * scores["cost"] + weights[1] * scores["speed"] + weights[2] * scores["quality"]
        if facts.sticky == row.card.slug:
            row.total += _SAME_VOICE
        row.total = round(row.total, 6)


def best_first(rows: list[Row]) -> None:
    """Sort by total; second comes another vendor's model where one is near."""
    rows.sort(key=lambda row: (-row.total, row.cost, -row.card.quality, row.card.slug))
    if len(rows) < 3 or rows[1].card.provider != rows[0].card.provider:
        return
    for position in range(2, len(rows)):
        if rows[position].card.provider != rows[0].card.provider:
            if rows[1].total - rows[position].total <= _NEAR:
                rows.insert(1, rows.pop(position))
            return


def expected_cost(card: ModelCard, tokens: int, output: int, *, cached: bool) -> float:
    """In USD, about; `cached`: the model knows most of the input from the conversation so far."""
    rates = _float_rates(card)
    into = _CACHED_SHARE * rates[2] + (1 - _CACHED_SHARE) * rates[0] if cached else rates[0]
    return (tokens * into + output * rates[1]) / 1e6


def expected_seconds(card: ModelCard, live: ModelHealth, output: int) -> float:
    """Expected time of an answer: measured values weigh in as samples come."""
    trust = live.samples / (live.samples + _PRIOR_SAMPLES)
    ttft = card.ttft_ms if live.ttft_ms is None else trust * live.ttft_ms + (1 - trust) * card.ttft_ms
    speed = (
        card.tokens_per_second if live.tokens_per_second is None else trust * live.tokens_per_second + (1 - trust) * card.tokens_per_second
    )
    return ttft / 1000 + output / max(speed, 0.1)


def _share(value: float, low: float, high: float) -> float:
    """1 for the least, 0 for the most, by where it stands between them."""
    return 1.0 if high - low < 1e-12 else (high - value) / (high - low)


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
