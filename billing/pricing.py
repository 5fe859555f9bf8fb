"""`Usage`, the tokens of a model call, which all layers share, and their cost.

Pure functions over a price snapshot, without any rounding.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from decimal import ROUND_CEILING, Context, Decimal, Inexact, InvalidOperation, localcontext
from functools import lru_cache
from typing import Any

from django.conf import settings

# Anthropic's published factor for writes into its one-hour cache: twice the input rate (five minutes: 1.25 times).
# Source: platform.claude.com, "pricing", prompt caching. It applies where a price has no rate of its own for them.
_LONG_WRITE_FACTOR = 2
_RATE_PLACES = Decimal("0.000001")
# A result that would need rounding raises instead: 60 digits hold any tokens times any rate.
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
# For whole quotients, which round down.
_FLOORED = Context(prec=60, traps=[InvalidOperation])


Pairs = tuple[tuple[str, int], ...]
Modes = tuple[tuple[str, "Rates | Decimal"], ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, in inclusive buckets: cached and written input ⊂ input, one-hour writes ⊂ writes, reasoning ⊂ output.

    `missing` names the counts (`input_tokens`, `output_tokens`) that the vendor did not report. Settlement replaces
    their 0 with an estimate. Any other 0 was reported by the vendor. Without any report there is no Usage.

    What has a price of its own: `media` are parts of the input, of the cached input and of the output by their names in
    a price (`input_audio`, `cached_audio`, `output_image`…). `units` are counted beside the tokens: calls of the
    vendor's tools (`web_search`), and every count that no price knows, by its name in the vendor's usage. `mode` is how
    the vendor processed the call (`service_tier=flex`, `speed=fast`, several joined by `+`): "" is the standard, None
    was not reported.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    missing: frozenset[str] = frozenset()
    cache_write_1h_tokens: int = 0
    media: Pairs = ()
    units: Pairs = ()
    mode: str | None = field(default=None, compare=False)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.missing | other.missing,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            _added(self.media, other.media),
            _added(self.units, other.units),
            self.mode or other.mode,
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
            media=_within(self.media, {"input": total_in - cached - written, "cached": cached, "output": total_out}),
            units=tuple((name, count) for name, count in self.units if count > 0),
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


def _added(one: Pairs, other: Pairs) -> Pairs:
    total = Counter(dict(one)) + Counter(dict(other)) if one and other else None
    return one or other if total is None else tuple(sorted(total.items()))


def _within(media: Pairs, left: dict[str, int]) -> Pairs:
    """Return the parts that fit into their wholes: the first word of a part's name is its whole."""
    kept = []
    for name, count in media:
        whole = name.partition("_")[0]
        fits = min(max(0, count), left.get(whole, 0))
        if fits:
            left[whole] -= fits
            kept.append((name, fits))
    return tuple(kept)


def usage_of_row(row: Any) -> Usage:
    """Return the counts of a usage log row. Rows of earlier versions have no count of one-hour writes."""
    also = row.also_used or {}
    found: dict[str, Any] = {name: getattr(row, name) or 0 for name in COUNTS}
    found |= {name: tuple((also.get(name) or {}).items()) for name in ("media", "units")}
    return Usage(**found)


@dataclass(frozen=True, slots=True)
class Rates:
    """The applied rates in USD per million tokens. `unknown`: the ceiling replaces a price that is not known.

    Above `tier_threshold` input tokens the `tier_*` rates apply to the whole call. A missing cached or write rate
    means the input rate, a missing rate for one-hour writes twice the input rate.

    `media`: rates of parts (Usage.media) per million tokens; a part without one costs what its whole costs. `units`: USD
    per thousand. `modes`: the rates of every other way of processing that has a price, or a factor for all rates.
    `mode`: the one that these rates are for. A stored snapshot has no `modes`.
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
    media: tuple[tuple[str, Decimal], ...] = ()
    units: tuple[tuple[str, Decimal], ...] = ()
    mode: str = ""
    modes: Modes = field(default=(), compare=False, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the snapshot that is stored with a call: money as strings, without unset fields."""
        return dict(_as_json(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Rates:
        """Return the rates from the output of `as_json`."""
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key in _PAIRS:
                values[key] = tuple((name, Decimal(rate)) for name, rate in value.items())
            else:
                values[key] = value if key in _PLAIN else Decimal(value)
        return cls(**values)


_PAIRS = ("media", "units")
_PLAIN = ("tier_threshold", "source", "unknown", "mode")
_STORED = tuple(one.name for one in fields(Rates) if one.name != "modes")


@lru_cache(maxsize=1024)
def _as_json(rates: Rates) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in _STORED:
        value = getattr(rates, key)
        if value is None or value is False or value in ("", ()):
            continue
        if key in _PAIRS:
            value = {name: f"{rate:f}" for name, rate in value}
        found[key] = f"{value:f}" if isinstance(value, Decimal) else value
    return found


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
        if usage.media or usage.units:
            total += _beside(rates, rate, usage)
        return total.scaleb(-6)


def cache_saving(rates: Rates, usage: Usage) -> Decimal:
    """Return what the same tokens would have cost more without a cache, in USD: negative where writing cost more than reading saved."""
    if not usage.cached_input_tokens and not usage.cache_write_tokens:
        return Decimal(0)
    media = tuple((f"input_{name.removeprefix('cached_')}" if name.startswith("cached_") else name, count) for name, count in usage.media)
    fresh = replace(usage, cached_input_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0, media=media)
    return cost(rates, fresh) - cost(rates, usage)


def _beside(rates: Rates, rate: Tier, usage: Usage) -> Decimal:
    """Return what media cost more than their wholes, and what units cost, in millionths of USD."""
    media, units = dict(rates.media), dict(rates.units)
    whole = {"input": rate.input, "cached": rate.cached, "output": rate.output}
    more = sum(((media[name] - whole[name.partition("_")[0]]) * count for name, count in usage.media if name in media), Decimal(0))
    return more + sum((units[name] * 1000 * count for name, count in usage.units if name in units), Decimal(0))


def in_mode(rates: Rates, mode: str) -> Rates | None:
    """Return the rates of a way of processing (Usage.mode), or None if one of its parts has no price.

    The ceiling, which replaces an unknown price, covers every mode. Two parts with rates of their own have no common
    price, unless one is listed under their joined name.
    """
    if mode == rates.mode or rates.unknown:
        return rates
    known = dict(rates.modes)
    found: Rates | None = None
    factor = Decimal(1)
    for part in [mode] if mode in known else mode.split("+"):
        price = known.get(part)
        if price is None or (isinstance(price, Rates) and found is not None):
            return None
        if isinstance(price, Rates):
            found = price
        else:
            factor *= price
    usual = known.get("", rates)
    assert isinstance(usual, Rates)
    found = found or usual
    return replace(found if factor == 1 else _times(found, factor), mode=mode, modes=rates.modes)


def _times(rates: Rates, factor: Decimal) -> Rates:
    """Return rates with every price of tokens multiplied. A price of a unit stays."""
    changed: dict[str, Any] = {}
    for one in _STORED:
        if isinstance(value := getattr(rates, one), Decimal):
            changed[one] = (value * factor).quantize(_RATE_PLACES, ROUND_CEILING)
    return replace(rates, **changed, media=tuple((name, value * factor) for name, value in rates.media))


def applied(rates: Rates, usage: Usage) -> tuple[Rates, tuple[str, ...]]:
    """Return the rates that a reported usage is charged by, and the names in it that have no price.

    They are those of the reported mode, with a price for everything that was counted: what has none is charged at the
    ceiling.
    """
    unpriced: list[str] = []
    found: Rates | None = rates
    if usage.mode is not None and usage.mode != rates.mode:
        found = in_mode(rates, usage.mode)
        if found is None:
            unpriced.append(usage.mode)
            found = replace(ceiling_rates(), unknown=False, mode=usage.mode, units=rates.units)
    assert found is not None
    prices, media = dict(found.units), dict(found.media)
    units = []
    for name, _ in usage.units:
        if name not in prices:
            unpriced.append(name)
        units.append((name, prices[name] if name in prices else _ceiling_of(name)))
    counted = tuple((name, media[name]) for name, _ in usage.media if name in media)
    if (tuple(units), counted) != (found.units, found.media):
        found = replace(found, units=tuple(units), media=counted)
    return found, tuple(unpriced)


def _ceiling_of(name: str) -> Decimal:
    """Return the ceiling for a thousand of a count that has no price: tokens, or calls."""
    if name.endswith(("tokens", "TokenCount")):
        return Decimal(settings.UNKNOWN_PRICE_CEILING_PER_MTOK) / 1000
    return Decimal(settings.UNKNOWN_PRICE_CEILING_PER_CALL) * 1000


def highest_cost(rates: Rates, input_tokens: int, output_tokens: int, *, long_writes: bool = False, units: Pairs = ()) -> Decimal:
    """Return the highest possible cost (USD) of a call of this size, with any caching: the amount of a hold.

    `long_writes`: the request may write into the one-hour cache. `units`: the most calls of the vendor's tools.
    """
    with localcontext(_EXACT):
        totals = [into * input_tokens + out * output_tokens for into, out in _highest_rates(rates, input_tokens, long_writes)]
        return (max(totals) + _highest_of(rates, units)).scaleb(-6)


def affordable_output(rates: Rates, input_tokens: int, amount: Decimal, *, long_writes: bool = False, units: Pairs = ()) -> int | None:
    """Return the most output tokens whose `highest_cost` is within `amount` (USD), at least 0; None: output is free."""
    with localcontext(_FLOORED):
        left = amount.scaleb(6) - _highest_of(rates, units)
        paid = [(left - into * input_tokens) // out for into, out in _highest_rates(rates, input_tokens, long_writes) if out]
    return max(0, int(min(paid))) if paid else None


def _highest_rates(rates: Rates, input_tokens: int, long_writes: bool) -> list[tuple[Decimal, Decimal]]:
    """Return the highest rate of the input and the rate of the output in each tier that may apply."""
    tiers = [tier(rates, long=False)]
    if _is_long(rates, input_tokens):
        # A call that is shorter than estimated is charged at the base rates, and some long tiers are cheaper.
        tiers.append(tier(rates, long=True))
    return [(max(t.input, t.cached, t.write, t.write_1h if long_writes else t.write), t.output) for t in tiers]


def _highest_of(rates: Rates, units: Pairs) -> Decimal:
    """Return what the most calls of the vendor's tools cost, in millionths of USD."""
    prices = dict(rates.units) if units else {}
    return sum((prices.get(name, Decimal(0)) * 1000 * count for name, count in units), Decimal(0))


def ceiling_rates() -> Rates:
    """Return the rates for a model without a known price: high on purpose, and flagged."""
    ceiling = Decimal(settings.UNKNOWN_PRICE_CEILING_PER_MTOK)
    return Rates(input=ceiling, output=ceiling, source="ceiling", unknown=True)
