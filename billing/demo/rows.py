"""The rows of demo usage: who calls which model when, with how many tokens, at which cost."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from aiagents.core.jsonio import dumps
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard
from billing.pricing import Rates

# The request id of all demo rows.
REQUEST_ID = "demo"
_HOUR = timedelta(hours=1)
# The relative load of the hours of a day (UTC), and of the days of a week from Monday on.
_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 14, 18, 20, 18, 14, 17, 19, 18, 16, 12, 9, 8, 7, 6, 4, 3)
_WEEK = (20, 21, 21, 20, 17, 6, 5)
# The models that demo users choose, if the catalogue has them.
_LIKED = (
    "gpt-4o-mini",
    "gpt-4o",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gpt-5-mini",
    "claude-opus-4-1",
)
_PURPOSES = (("chat", 62), ("api", 20), ("agent", 9), ("title", 6), ("task", 3))
_SURFACES = {
    "chat": ("sse", "ws", "rest"),
    "api": ("openai", "openai", "anthropic"),
    "agent": ("sse", "worker"),
    "title": ("sse",),
    "task": ("worker",),
}
_ENDS = (("ok", 957), ("failed", 25), ("cancelled", 15), ("interrupted", 3))
_ERRORS = ("provider_rate_limited", "provider_timeout", "provider_overloaded", "provider_unavailable")
# Median input and output tokens.
_SIZES = {"chat": (900, 350), "api": (1_800, 260), "agent": (3_200, 300), "title": (220, 9), "task": (2_400, 700)}
COLUMNS = (
    "id", "call_id", "group_id", "user_id", "api_key_id", "agent_id", "task_id", "conversation_id", "message_id", "purpose", "surface",
    "request_id", "attempt", "requested_model", "model", "provider", "goal", "status", "finish_reason", "error_code", "input_tokens",
    "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "baseline_cost_usd", "price", "estimated",
    "flagged", "overrun_usd", "latency_ms", "ttft_ms", "simulated", "created_at",
)  # fmt: skip
AT = {name: index for index, name in enumerate(COLUMNS)}
Row = tuple[Any, ...]


@dataclass(slots=True)
class Person:
    """A demo user: the share of the usage, the keys and agents, and the current conversation."""

    user_id: UUID
    weight: float = 1.0
    key_ids: Sequence[UUID] = ()
    agent_ids: Sequence[UUID] = ()
    conversation_id: UUID | None = None
    turns: int = 0


@dataclass(frozen=True, slots=True)
class _Model:
    card: ModelCard
    rates: tuple[int, int, int, int]
    price: str
    long: int = field(default=10**9)


def make(people: Sequence[Person], rows: int, start: datetime, end: datetime, dice: random.Random) -> Iterator[Row]:
    """Yield rows by time: more by day than by night, on weekdays than on Sundays, and more towards the end."""
    models, baseline = _models()
    likes = [2.0 ** -(number / 1.5) for number in range(len(models))]
    hours = [start + number * _HOUR for number in range(max(1, -int(-((end - start) / _HOUR) // 1)))]
    busy = [_HOURS[at.hour] * _WEEK[at.weekday()] * (0.4 + 0.6 * number / len(hours)) for number, at in enumerate(hours)]
    scale, owed = rows / sum(busy), 0.0
    weights = [person.weight for person in people]
    purposes, purpose_weights = [name for name, _ in _PURPOSES], [weight for _, weight in _PURPOSES]
    left = rows
    for number, at in enumerate(hours):
        owed += busy[number] * scale
        count = left if number == len(hours) - 1 else min(left, int(owed))
        owed -= count
        left -= count
        length = min(3_600.0, (end - at).total_seconds())
        for second in sorted(dice.random() * length for _ in range(count)):
            person = dice.choices(people, weights)[0]
            purpose = dice.choices(purposes, purpose_weights)[0]
            model = dice.choices(models, likes)[0]
            yield _row(person, purpose, model, baseline, at + timedelta(seconds=second), dice)


def _row(person: Person, purpose: str, model: _Model, baseline: Any, at: datetime, dice: random.Random) -> Row:
    into, out = _SIZES[purpose]
    status = dice.choices([name for name, _ in _ENDS], [weight for _, weight in _ENDS])[0]
    if person.conversation_id is None or dice.random() < 0.2:
        person.conversation_id, person.turns = _uuid(at, dice), 0
    person.turns += 1
    talk = purpose in ("chat", "title")
    tokens_in = min(int(dice.lognormvariate(0, 0.7) * into) + (person.turns * 400 if purpose == "chat" else 0) + 8, model.long, 60_000)
    tokens_out = min(int(dice.lognormvariate(0, 0.8) * out) + 1, 16_000, model.card.max_output_tokens)
    cached = tokens_in // 2 if model.rates[1] < model.rates[0] and tokens_in > 2_000 and dice.random() < 0.35 else 0
    usage = [tokens_in, cached, 0, tokens_out, tokens_out // 3 if "reasoning" in model.card.capabilities else 0]
    ttft: int | None = int(model.card.ttft_ms * dice.lognormvariate(0, 0.4))
    latency = (ttft or 0) + int(1000 * tokens_out / max(1.0, model.card.tokens_per_second * dice.uniform(0.7, 1.2)))
    error = finish = ""
    if status == "failed":
        usage, ttft, error, latency = [0] * 5, None, dice.choice(_ERRORS), dice.randint(200, 20_000)
    else:
        finish = {"cancelled": "cancelled", "interrupted": "error"}.get(status) or ("length" if dice.random() < 0.02 else "stop")
    key_id = dice.choice(person.key_ids) if purpose == "api" and person.key_ids else None
    pinned = dice.random() < 0.4
    call = _uuid(at, dice)
    return (
        _uuid(at + timedelta(milliseconds=latency), dice), call, call, person.user_id, key_id,
        dice.choice(person.agent_ids) if purpose == "agent" and person.agent_ids else None, None,
        person.conversation_id if talk else None, None, purpose, dice.choice(_SURFACES[purpose]), REQUEST_ID, 1,
        model.card.slug if pinned else "auto", model.card.slug, model.card.provider, "" if pinned else "balanced", status, finish, error,
        *usage, usd(pico(model.rates, usage)), None if baseline is None else usd(pico(baseline, usage)), model.price,
        False, "", Decimal(0), latency, ttft, True, at,
    )  # fmt: skip


def _models() -> tuple[list[_Model], tuple[int, int, int, int] | None]:
    known = catalogue.current_sync()
    priced = [card for card in known.usable() if card.rates is not None and not card.embeds]
    liked = sorted((card for card in priced if card.slug in _LIKED), key=lambda card: _LIKED.index(card.slug))
    cards = [*liked, *[card for card in priced if card not in liked]][: max(8, len(liked))]
    if not cards:
        raise ValueError("The catalogue has no model with a price; run `manage.py catalogue load` first.")
    baseline = catalogue.baseline(known)
    found = [_Model(card, whole_rates(card.rates), dumps(card.rates.as_json()).decode(), _long(card.rates)) for card in cards if card.rates]
    return found, whole_rates(baseline) if baseline and baseline.tier_threshold is None else None


def _long(rates: Rates) -> int:
    return rates.tier_threshold or 10**9


def pico(rates: tuple[int, int, int, int], usage: Sequence[int]) -> int:
    """Return the cost in 1e-12 USD, for inputs below any tier. Integers are much faster than billing.pricing.cost."""
    into, cached, write, out = rates
    return into * (usage[0] - usage[1] - usage[2]) + cached * usage[1] + write * usage[2] + out * usage[3]


def whole_rates(rates: Rates) -> tuple[int, int, int, int]:
    """Return the rates for input, cached, written and output tokens, in 1e-6 USD per million tokens."""
    into = int(rates.input * 10**6)
    return (
        into,
        into if rates.cached_input is None else int(rates.cached_input * 10**6),
        into if rates.cache_write is None else int(rates.cache_write * 10**6),
        int(rates.output * 10**6),
    )


def usd(amount: int) -> Decimal:
    return Decimal(amount).scaleb(-12)


def _uuid(at: datetime, dice: random.Random) -> UUID:
    """Return a UUID of version 7 with this time."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (dice.getrandbits(12) << 64) | (2 << 62) | dice.getrandbits(62))
