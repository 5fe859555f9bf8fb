"""Prices of models from the package genai-prices: the installed one or its published file, without network access."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

# `genai_prices` is imported inside functions: its tables cost 60 ms and 20 MB, and only catalogue updates need them.

# The package's names of the vendors whose prices are read.
VENDORS = ("openai", "anthropic", "google")
# The start of a price without a date.
ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)
_KEYS = {
    "input": "input_mtok", "cached_input": "cache_read_mtok", "cache_write": "cache_write_mtok", "cache_write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
}  # fmt: skip
_PLACES = Decimal("0.000001")


class Unlisted(LookupError):
    """The package has no price for the model, or one that ModelPrice cannot store."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Rates valid from a day on; `columns` are those of ModelPrice."""

    effective_from: datetime
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PriceList:
    """One version of the price package's tables."""

    source: str
    providers: tuple[Any, ...]

    def size(self) -> int:
        """Return the number of models of the VENDORS."""
        return sum(len(provider.models) for provider in self.providers if provider.id in VENDORS)

    def prices(self, vendor: str, model: str, *, writes: bool = True) -> tuple[Listed, ...]:
        """Return the model's prices by day, oldest first. Raises Unlisted when there are none.

        `writes` is False for an embedding model, which has no output and so no price for it.
        """
        provider = next((one for one in self.providers if one.id == vendor), None)
        found = provider.find_model(model) if provider else None
        if found is None:
            raise Unlisted(f"{self.source} does not contain {vendor}/{model}")
        stages = (
            [(ALWAYS, found.prices)] if not isinstance(found.prices, list) else [(_day(one.constraint), one.prices) for one in found.prices]
        )
        return tuple(Listed(day, _columns(price, f"{vendor}/{model}", writes)) for day, price in sorted(stages, key=lambda one: one[0]))


def installed() -> PriceList:
    """Return the tables of the installed package."""
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    return PriceList(f"genai-prices {genai_prices.__version__}", tuple(get_snapshot().providers))


def from_file(path: Path) -> PriceList:
    """Return the tables of a file that the package publishes (prices/…/data.json).

    Raises ValueError for another file.
    """
    # The package's updater reads the file with this private function; there is no public one.
    from genai_prices.types import _providers_from_raw

    raw = json.loads(path.read_bytes())
    if not isinstance(raw, list):
        raise ValueError(f"{path.name} is not a list of providers")
    return PriceList(f"genai-prices {path.name}"[:50], tuple(_providers_from_raw(raw)))


def _day(constraint: Any) -> datetime:
    if constraint is None:
        return ALWAYS
    if (day := getattr(constraint, "start_date", None)) is None:
        raise Unlisted(f"a price that depends on {type(constraint).__name__}")
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _columns(price: Any, what: str, writes: bool) -> dict[str, Any]:
    columns: dict[str, Any] = {"tier_threshold": None}
    for name, key in _KEYS.items():
        value = getattr(price, key, None)  # registered units are attributes only where the model has a price
        tiers = getattr(value, "tiers", ())
        if len(tiers) > 1 or any(columns["tier_threshold"] not in (None, tier.start) for tier in tiers):
            raise Unlisted(f"{what} has several tiers")
        columns[name] = _rate(getattr(value, "base", value))
        columns[f"tier_{name}"] = None
        for tier in tiers:
            columns["tier_threshold"], columns[f"tier_{name}"] = tier.start, _rate(tier.price)
    if not writes and columns["output"] is None:
        columns["output"] = Decimal(0)
    if columns["input"] is None or columns["output"] is None:
        raise Unlisted(f"{what} has no price for input or output")
    return columns


def _rate(value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    rate = Decimal(value)
    if not rate.is_finite() or rate < 0 or rate != (kept := rate.quantize(_PLACES)):
        raise ValueError(f"{value} is not a rate")
    return kept
