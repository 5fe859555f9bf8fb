"""Update the catalogue from data/catalogue.json and the price list, without overwriting edits of staff.

A model's field is updated only if it still has the value that was loaded last; otherwise staff changed it. A price that
staff set takes precedence over the list. A used price is never edited: a new price is a new row, valid from now on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from billing.catalogue import snapshot as catalogue
from billing.catalogue.price_list import Listed, PriceList, Unlisted
from billing.catalogue.snapshot import BESIDE_COLUMNS, RATE_COLUMNS
from billing.models import AIModel, ModelPrice

DATA = Path(__file__).parent / "data" / "catalogue.json"
# A rate that changes by more than this factor is refused as a mistake until staff confirm it.
ABSURD_FACTOR = 20
# A list with less than this share of the installed list's models is refused as incomplete.
SHRUNK = Decimal("0.8")
_COLUMNS = (*RATE_COLUMNS, *BESIDE_COLUMNS)
_RATES = [name for name in RATE_COLUMNS if name != "tier_threshold"]


@dataclass(slots=True)
class Diff:
    """The changes of an update, line by line; the models without a price; and the reasons to refuse it."""

    lines: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines)


class Refused(ValueError):
    """The update looks wrong and changed nothing. `diff.refused` contains the reasons."""

    def __init__(self, diff: Diff) -> None:
        self.diff = diff
        super().__init__("; ".join(diff.refused))


def load(prices: PriceList) -> Diff:
    """Add the missing models and prices; return what was added. Existing rows do not change. Safe to repeat."""
    diff = Diff()
    with transaction.atomic():
        for entry in entries():
            model, new = AIModel.objects.get_or_create(slug=entry["slug"], defaults={**fields_of(entry), "loaded": fields_of(entry)})
            if new:
                diff.lines.append(f"+ {model.slug}")
            if not model.prices.exists():
                _add_prices(model, entry, prices, diff)
        if diff:
            catalogue.invalidate()
    return diff


def update(prices: PriceList, installed: PriceList | None = None, *, force: bool = False, apply: bool = True) -> Diff:
    """Update models and prices and return the changes. Raises Refused, and changes nothing, if the list looks wrong.

    `installed`: the list to compare the size with. `apply=False` returns the changes without making them. `force`
    applies an update that would be refused.
    """
    diff = Diff()
    with transaction.atomic():
        if installed is not None and prices.size() < SHRUNK * installed.size():
            diff.refused.append(f"the list has {prices.size()} models of our vendors, the installed one {installed.size()}")
        for entry in entries():
            model, new = AIModel.objects.get_or_create(slug=entry["slug"], defaults={**fields_of(entry), "loaded": fields_of(entry)})
            diff.lines += [f"+ {model.slug}"] if new else _merge(model, entry)
            _update_prices(model, entry, prices, diff)
        if not apply or (diff.refused and not force):
            transaction.set_rollback(True)
        elif diff:
            catalogue.invalidate()
    if apply and diff.refused and not force:
        raise Refused(diff)
    return diff


def entries() -> list[dict[str, Any]]:
    """Return the models of data/catalogue.json."""
    return json.loads(DATA.read_text())["models"]


def fields_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of AIModel that a model of the file sets."""
    plain = {key: value for key, value in entry.items() if key not in {"slug", "capabilities", "price_ref", "price_factors"}}
    return plain | {name: name in entry["capabilities"] for name in catalogue.CAPABILITIES}


def _merge(model: AIModel, entry: dict[str, Any]) -> list[str]:
    """Update the fields that still have the value that was loaded last; return the changes."""
    lines = []
    for name, value in fields_of(entry).items():
        # A field that is newer than the last load had its default then.
        now, before = getattr(model, name), model.loaded.get(name, getattr(AIModel(), name))
        if now != value and now == before:
            setattr(model, name, value)
            lines.append(f"~ {model.slug}.{name}: {now} -> {value}")
    if lines or model.loaded != fields_of(entry):
        model.loaded = fields_of(entry)
        model.save()
    return lines


def listed_prices(model: AIModel, entry: dict[str, Any], prices: PriceList) -> tuple[Listed, ...]:
    """Return the prices of a model by day, oldest first. Raises Unlisted when the list has none."""
    listed = prices.prices(model.provider, entry.get("price_ref", model.vendor_model), writes=not model.embeddings)
    factors = {name: {"factor": factor} for name, factor in entry.get("price_factors", {}).items()}
    return tuple(replace(one, columns=one.columns | {"modes": one.columns["modes"] | factors}) for one in listed) if factors else listed


def _add_prices(model: AIModel, entry: dict[str, Any], prices: PriceList, diff: Diff) -> None:
    try:
        listed = listed_prices(model, entry, prices)
    except Unlisted as exc:
        diff.unknown.append(f"{model.slug}: {exc}")
        return
    for one in listed:
        model.prices.create(effective_from=one.effective_from, source=prices.source, **one.columns)
        diff.lines.append(f"+ {model.slug} {_described(one.columns)} from {one.effective_from:%Y-%m-%d}")


def _update_prices(model: AIModel, entry: dict[str, Any], prices: PriceList, diff: Diff) -> None:
    now = timezone.now()
    current = model.prices.filter(effective_from__lte=now).order_by("-effective_from").first()
    if current is None:
        if not model.prices.exists():
            _add_prices(model, entry, prices, diff)
        return
    if not _from_list(current):
        return
    try:
        listed = listed_prices(model, entry, prices)
    except Unlisted as exc:
        diff.refused.append(f"{model.slug} has a price and is no longer in the list ({exc})")
        return
    before = {name: getattr(current, name) for name in _COLUMNS}
    holds = [one for one in listed if one.effective_from <= now]
    if holds and holds[-1].columns != before:
        _judge(model, before, holds[-1].columns, diff)
        diff.lines.append(f"~ {model.slug} {_changed(before, holds[-1].columns)}")
        model.prices.create(effective_from=now, source=prices.source, **holds[-1].columns)
    _announced(model, {one.effective_from: one.columns for one in listed if one.effective_from > now}, now, before, prices, diff)


def _announced(
    model: AIModel, coming: dict[datetime, dict[str, Any]], now: datetime, before: dict[str, Any], prices: PriceList, diff: Diff
) -> None:
    """Update the prices of future days: no call was charged by them yet, so they may follow the list."""
    stored = {row.effective_from: row for row in model.prices.filter(effective_from__gt=now)}
    for day, columns in coming.items():
        row = stored.pop(day, None)
        if row is not None and (not _from_list(row) or {name: getattr(row, name) for name in _COLUMNS} == columns):
            continue
        _judge(model, before, columns, diff)
        diff.lines.append(f"~ {model.slug} {_described(columns)} from {day:%Y-%m-%d}")
        model.prices.update_or_create(effective_from=day, defaults={"source": prices.source, **columns})
    for day, row in stored.items():
        if _from_list(row):
            diff.lines.append(f"- {model.slug} from {day:%Y-%m-%d}")
            row.delete()


def _judge(model: AIModel, before: dict[str, Any], after: dict[str, Any], diff: Diff) -> None:
    earlier, later = _flat(before), _flat(after)
    for name, old in earlier.items():
        new = later.get(name)
        if old is None or new is None or old == new:
            continue
        if not old or not new or max(old, new) > ABSURD_FACTOR * min(old, new):
            diff.refused.append(f"{model.slug}.{name} would go from {old.normalize():f} to {new.normalize():f}")


def _flat(columns: dict[str, Any]) -> dict[str, Decimal | None]:
    """Return all rates by name, those of media, units and modes as well."""
    found: dict[str, Decimal | None] = {name: columns[name] for name in _RATES}
    inner: list[tuple[str, Any]] = [(name, columns[name]) for name in BESIDE_COLUMNS]
    while inner:
        at, value = inner.pop()
        if isinstance(value, dict):
            inner += [(f"{at}.{name}", one) for name, one in value.items()]
        else:
            found[at] = Decimal(value)
    return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the rates before and after; of media, units and modes only what changed."""
    earlier, later = _flat(before), _flat(after)
    beside = [name for name in {**earlier, **later} if "." in name and earlier.get(name) != later.get(name)]
    shown = "".join(f" {name}={_plain(earlier.get(name))}->{_plain(later.get(name))}" for name in sorted(beside))
    return f"{_described(before)} -> {_described(after)}{shown}"


def _plain(rate: Decimal | None) -> str:
    return "none" if rate is None else f"{rate.normalize():f}"


def _from_list(price: ModelPrice) -> bool:
    return price.source.startswith("genai-prices")


def _described(columns: dict[str, Any]) -> str:
    rates = [f"{name}={columns[name].normalize():f}" for name in _RATES if columns[name] is not None]
    return " ".join(rates) + (f" above {columns['tier_threshold']} input tokens" if columns["tier_threshold"] else "")
