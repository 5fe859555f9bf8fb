"""Prices of models from the package genai-prices: the installed one or its published file, without network access."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
_MEDIA = {
    "input_audio": "input_audio_mtok", "cached_audio": "cache_audio_read_mtok", "output_audio": "output_audio_mtok",
    "input_image": "input_image_mtok", "cached_image": "cache_image_read_mtok", "output_image": "output_image_mtok",
    "input_video": "input_video_mtok", "output_video": "output_video_mtok",
}  # fmt: skip
# Names of usage (Usage.units) with a price per thousand.
_UNITS = {"web_search": "web_searches_kcount", "file_search": "storage_searches_kcount"}
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
        stages.sort(key=lambda one: one[0])
        now = datetime.now(UTC)
        # A price in the past needs no modes. Those of the present follow the list with the catalogue's daily update.
        first = max((day for day, _ in stages if day <= now), default=ALWAYS)
        listed = []
        for day, price in stages:
            columns = _columns(price, f"{vendor}/{model}", writes)
            columns["modes"] = _modes(found, max(day, now), writes) if day >= first else {}
            listed.append(Listed(day, columns))
        return tuple(listed)


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


def _dated(variant: Any) -> bool:
    return getattr(variant.constraint, "start_date", None) is not None


def _modes(found: Any, at: datetime, writes: bool) -> Mapping[str, object]:
    """Return the rates of each other way of processing that is listed at a time, by `field=value`.

    The package gives the standard price for a value that it does not list, so only listed ones are asked for.
    """
    modes: dict[str, object] = {}
    usual = _columns(found.get_prices(at), found.id, writes)
    for variant in found.price_variants or ():
        constraint = variant.constraint
        if len(variant.when) != 1 or not any(value is not None for value in vars(variant.prices).values()):
            continue
        if constraint is not None and not (_dated(variant) and constraint.active(at)):
            continue
        [(field, value)] = variant.when.items()
        try:
            columns = _columns(found.get_prices(at, dict(variant.when)), f"{found.id} {field}={value}", writes)
        except Unlisted:
            continue
        if columns["tier_threshold"] != usual["tier_threshold"]:
            continue  # a mode has no threshold of its own
        rates: dict[str, Any] = {name: _text(rate) for name, rate in columns.items() if isinstance(rate, Decimal)}
        modes[f"{field}={value}"] = rates | ({"media": columns["media"]} if columns["media"] else {})
    return modes


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
    columns["media"] = _named(price, _MEDIA)
    columns["units"] = _named(price, _UNITS)
    return columns


def _named(price: Any, keys: dict[str, str]) -> dict[str, str]:
    """Return the prices that are set, as text by our names. A price in tiers counts with its highest."""
    found = {}
    for name, key in keys.items():
        if (value := getattr(price, key, None)) is not None:
            found[name] = _text(
                max(Decimal(one) for one in (getattr(value, "base", value), *(t.price for t in getattr(value, "tiers", ()))))
            )
    return found


def _text(rate: Decimal) -> str:
    checked = _rate(rate)
    assert checked is not None
    return f"{checked.normalize():f}"


def _rate(value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    rate = Decimal(value)
    if not rate.is_finite() or rate < 0 or rate != (kept := rate.quantize(_PLACES)):
        raise ValueError(f"{value} is not a rate")
    return kept
