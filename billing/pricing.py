"""`Usage`, the tokens of a model call, which all layers share, and their cost.

Pure functions over a price snapshot, without any rounding.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from functools import lru_cache
from typing import Any

from django.conf import settings

# Anthropic's published factor for writes into its one-hour cache: twice the input rate (five minutes: 1.25 times).
# Source: platform.claude.com, "pricing", prompt caching. It applies where a price has no rate of its own for them.
_LONG_WRITE_FACTOR = 2
# A result that would need rounding raises instead: 60 digits hold any tokens times any rate.
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
# For whole quotients, which round down.
_FLOORED = Context(prec=60, traps=[InvalidOperation])


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, in inclusive buckets: cached and written input ⊂ input, one-hour writes ⊂ writes, reasoning ⊂ output.

    `missing` names the counts (`input_tokens`, `output_tokens`) that the vendor did not report. Settlement replaces
    their 0 with an estimate. Any other 0 was reported by the vendor. Without any report there is no Usage.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    missing: frozenset[str] = frozenset()
    cache_write_1h_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.missing | other.missing,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )

    def clean(self) -> Usage:
        """Return valid counts: none is negative, and no part is larger than its whole."""
        total_in, total_out = max(0, self.input_tokens), max(0, self.output_tokens)
        cached = min(max(0, self.cached_input_tokens), total_in)
        written = min(max(0, self.cache_write_tokens), total_in - cached)
        return replace(
            self,
            input_tokens=total_in,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(max(0, self.cache_write_1h_tokens), written),
            output_tokens=total_out,
            reasoning_tokens=min(max(0, self.reasoning_tokens), total_out),
        )

    def as_dict(self) -> dict[str, int]:
        """Return the API's `usage` object."""
        return {
            "input_tokens": self.input_tokens,
            "cached_input_tokens": self.cached_input_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "cache_write_1h_tokens": self.cache_write_1h_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }


# The counts of a Usage, each with a column of the same name in the usage log.
COUNTS = tuple(Usage().as_dict())


def usage_of_row(row: Any) -> Usage:
    """Return the counts of a usage log row. Rows of earlier versions have no count of one-hour writes."""
    counts: dict[str, Any] = {name: getattr(row, name) or 0 for name in COUNTS}
    return Usage(**counts)


@dataclass(frozen=True, slots=True)
class Rates:
    """The applied rates in USD per million tokens. `unknown`: the ceiling replaces a price that is not known.

    Above `tier_threshold` input tokens the `tier_*` rates apply to the whole call. A missing cached or write rate
    means the input rate, a missing rate for one-hour writes twice the input rate.
    """

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
    cache_write_1h: Decimal | None = None
    tier_cache_write_1h: Decimal | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the snapshot that is stored with a call: money as strings, without unset fields."""
        return dict(_as_json(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Rates:
        """Return the rates from the output of `as_json`."""
        plain = {"tier_threshold", "source", "unknown"}
        values: dict[str, Any] = {key: value if key in plain else Decimal(value) for key, value in data.items()}
        return cls(**values)


@lru_cache(maxsize=1024)
def _as_json(rates: Rates) -> dict[str, Any]:
    return {
        key: f"{value:f}" if isinstance(value, Decimal) else value
        for key, value in asdict(rates).items()
        if value is not None and value != "" and value is not False
    }


@dataclass(frozen=True, slots=True)
class Tier:
    """The five rates that apply to one call."""

    input: Decimal
    cached: Decimal
    write: Decimal
    output: Decimal
    write_1h: Decimal


def tier(rates: Rates, *, long: bool) -> Tier:
    """Return the rates of a call; `long`: its input is above the price's threshold."""
    if not long:
        into, cached, write, out = rates.input, rates.cached_input, rates.cache_write, rates.output
        write_1h = rates.cache_write_1h
    else:
        # A rate without a tier keeps its base.
        into = rates.input if rates.tier_input is None else rates.tier_input
        out = rates.output if rates.tier_output is None else rates.tier_output
        cached = rates.cached_input if rates.tier_cached_input is None else rates.tier_cached_input
        write = rates.cache_write if rates.tier_cache_write is None else rates.tier_cache_write
        write_1h = rates.cache_write_1h if rates.tier_cache_write_1h is None else rates.tier_cache_write_1h
    return Tier(
        into, into if cached is None else cached, into if write is None else write, out,
        into * _LONG_WRITE_FACTOR if write_1h is None else write_1h,
    )  # fmt: skip


def _is_long(rates: Rates, input_tokens: int) -> bool:
    return rates.tier_threshold is not None and input_tokens > rates.tier_threshold


def cost(rates: Rates, usage: Usage) -> Decimal:
    """Return the exact cost in USD of `usage` (inclusive buckets) at `rates`."""
    rate = tier(rates, long=_is_long(rates, usage.input_tokens))
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    with localcontext(_EXACT):
        total = (
            rate.input * plain
            + rate.cached * usage.cached_input_tokens
            + rate.write * (usage.cache_write_tokens - usage.cache_write_1h_tokens)
            + rate.write_1h * usage.cache_write_1h_tokens
            + rate.output * usage.output_tokens
        )
        return total.scaleb(-6)


def highest_cost(rates: Rates, input_tokens: int, output_tokens: int, *, long_writes: bool = False) -> Decimal:
    """Return the highest possible cost (USD) of a call of this size, with any caching: the amount of a hold.

    `long_writes`: the request may write into the one-hour cache.
    """
    with localcontext(_EXACT):
        totals = [into * input_tokens + out * output_tokens for into, out in _highest_rates(rates, input_tokens, long_writes)]
        return max(totals).scaleb(-6)


def affordable_output(rates: Rates, input_tokens: int, amount: Decimal, *, long_writes: bool = False) -> int | None:
    """Return the most output tokens whose `highest_cost` is within `amount` (USD), at least 0; None: output is free."""
    with localcontext(_FLOORED):
        paid = [(amount.scaleb(6) - into * input_tokens) // out for into, out in _highest_rates(rates, input_tokens, long_writes) if out]
    return max(0, int(min(paid))) if paid else None


def _highest_rates(rates: Rates, input_tokens: int, long_writes: bool) -> list[tuple[Decimal, Decimal]]:
    """Return the highest rate of the input and the rate of the output in each tier that may apply."""
    tiers = [tier(rates, long=False)]
    if _is_long(rates, input_tokens):
        # A call that is shorter than estimated is charged at the base rates, and some long tiers are cheaper.
        tiers.append(tier(rates, long=True))
    return [(max(t.input, t.cached, t.write, t.write_1h if long_writes else t.write), t.output) for t in tiers]


def ceiling_rates() -> Rates:
    """Return the rates for a model without a known price: high on purpose, and flagged."""
    ceiling = Decimal(settings.UNKNOWN_PRICE_CEILING_PER_MTOK)
    return Rates(input=ceiling, output=ceiling, source="ceiling", unknown=True)
