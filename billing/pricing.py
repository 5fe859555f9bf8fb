"""What tokens cost. Pure arithmetic over a price's snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billing.usage import Usage

MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens, as applied. `unknown`: the ceiling stands in for a price nobody knows."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    tier_threshold: int | None = None
    tier_input: Decimal | None = None
    tier_cached_input: Decimal | None = None
    tier_cache_write: Decimal | None = None
    tier_output: Decimal | None = None
    source: str = ""
    unknown: bool = False


def cost(rates: Rates, usage: Usage) -> Decimal:
    """The exact cost in USD of `usage` (inclusive buckets) at `rates`; never rounded."""
    raise NotImplementedError


def dearest(rates: Rates, input_tokens: int, output_tokens: int) -> Decimal:
    """The most that a call of this size can cost, whatever is cached or written: what a hold must cover."""
    raise NotImplementedError
