"""Bringing the catalogue up to date: what data/catalogue.json and the price list say, without touching staff's edits.

A model's field that staff changed is theirs: only fields that still hold what was loaded last are brought up to date.
A price that staff set wins over the list's. Used prices are never edited; a new one is a new row from now on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from billing.catalogue import snapshot as catalogue
from billing.catalogue.price_list import Listed, PriceList, Unlisted
from billing.catalogue.snapshot import RATE_COLUMNS
from billing.models import AIModel, ModelPrice

DATA = Path(__file__).parent / "data" / "catalogue.json"
# A rate that moves by more than this factor is a mistake until somebody has looked at it.
ABSURD_FACTOR = 20
# A list with less than this part of the models that the installed one has is a torn one.
SHRUNK = Decimal("0.8")
_RATES = [name for name in RATE_COLUMNS if name != "tier_threshold"]


@dataclass(slots=True)
class Diff:
    """What an update does, line by line; models without a price; and why it would be refused."""

    lines: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines)


class Refused(ValueError):
    """The update looks wrong; nothing was changed. `diff.refused` says why."""

    def __init__(self, diff: Diff) -> None:
        self.diff = diff
        super().__init__("; ".join(diff.refused))


def load(prices: PriceList) -> Diff:
    """Add the models and prices that are missing. Safe to repeat; nothing that exists is changed."""
    diff = Diff()
    with transaction.atomic():
        for entry in entries():
            model, new = AIModel.objects.get_or_create(slug=entry["slug"], defaults={**_fields(entry), "loaded": _fields(entry)})
            if new:
                diff.lines.append(f"+ {model.slug}")
            if not model.prices.exists():
                _add_prices(model, entry, prices, diff)
        if diff:
            catalogue.invalidate()
    return diff


def update(prices: PriceList, installed: PriceList | None = None, *, force: bool = False, apply: bool = True) -> Diff:
    """Bring models and prices up to date; `Refused`, and nothing changed, when the new list looks wrong.

    `installed`: the list to compare the size with. `apply=False` only says what would be done. `force`: staff looked.
    """
    diff = Diff()
    with transaction.atomic():
        if installed is not None and prices.size() < SHRUNK * installed.size():
            diff.refused.append(f"the list has {prices.size()} models of our vendors, the installed one {installed.size()}")
        for entry in entries():
            model, new = AIModel.objects.get_or_create(slug=entry["slug"], defaults={**_fields(entry), "loaded": _fields(entry)})
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
    """The models of data/catalogue.json."""
    return json.loads(DATA.read_text())["models"]


def _fields(entry: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in entry.items() if key not in {"slug", "capabilities", "price_ref"}}
    return plain | {name: name in entry["capabilities"] for name in catalogue.CAPABILITIES}


def _merge(model: AIModel, entry: dict[str, Any]) -> list[str]:
    """Fields that still hold what was loaded last follow the file; the others are staff's."""
    lines = []
    for name, value in _fields(entry).items():
        now, before = getattr(model, name), model.loaded.get(name)
        if now != value and now == before:
            setattr(model, name, value)
            lines.append(f"~ {model.slug}.{name}: {now} -> {value}")
    if lines or model.loaded != _fields(entry):
        model.loaded = _fields(entry)
        model.save()
    return lines


def _listed(model: AIModel, entry: dict[str, Any], prices: PriceList) -> tuple[Listed, ...]:
    return prices.prices(model.provider, entry.get("price_ref", model.vendor_model), writes=not model.embeddings)


def _add_prices(model: AIModel, entry: dict[str, Any], prices: PriceList, diff: Diff) -> None:
    try:
        listed = _listed(model, entry, prices)
    except Unlisted as exc:
        diff.unknown.append(f"{model.slug}: {exc}")
        return
    for one in listed:
        model.prices.create(effective_from=one.effective_from, source=prices.source, **one.columns)
        diff.lines.append(f"+ {model.slug} {_said(one.columns)} from {one.effective_from:%Y-%m-%d}")


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
        listed = _listed(model, entry, prices)
    except Unlisted as exc:
        diff.refused.append(f"{model.slug} has a price and is gone from the list ({exc})")
        return
    before = {name: getattr(current, name) for name in RATE_COLUMNS}
    holds = [one for one in listed if one.effective_from <= now]
    if holds and holds[-1].columns != before:
        _judge(model, before, holds[-1].columns, diff)
        diff.lines.append(f"~ {model.slug} {_said(before)} -> {_said(holds[-1].columns)}")
        model.prices.create(effective_from=now, source=prices.source, **holds[-1].columns)
    _announced(model, {one.effective_from: one.columns for one in listed if one.effective_from > now}, now, before, prices, diff)


def _announced(
    model: AIModel, coming: dict[datetime, dict[str, Any]], now: datetime, before: dict[str, Any], prices: PriceList, diff: Diff
) -> None:
    """Prices that are announced for a day to come: nothing was charged by them yet, so they follow the list."""
    stored = {row.effective_from: row for row in model.prices.filter(effective_from__gt=now)}
    for day, columns in coming.items():
        row = stored.pop(day, None)
        if row is not None and (not _from_list(row) or {name: getattr(row, name) for name in RATE_COLUMNS} == columns):
            continue
        _judge(model, before, columns, diff)
        diff.lines.append(f"~ {model.slug} {_said(columns)} from {day:%Y-%m-%d}")
        model.prices.update_or_create(effective_from=day, defaults={"source": prices.source, **columns})
    for day, row in stored.items():
        if _from_list(row):
            diff.lines.append(f"- {model.slug} from {day:%Y-%m-%d}")
            row.delete()


def _judge(model: AIModel, before: dict[str, Any], after: dict[str, Any], diff: Diff) -> None:
    for name in _RATES:
        old, new = before[name], after[name]
        if old is None or new is None or old == new:
            continue
        if not old or not new or max(old, new) > ABSURD_FACTOR * min(old, new):
            diff.refused.append(f"{model.slug}.{name} would go from {old.normalize():f} to {new.normalize():f}")


def _from_list(price: ModelPrice) -> bool:
    return price.source.startswith("genai-prices")


def _said(columns: dict[str, Any]) -> str:
    said = [f"{name}={columns[name].normalize():f}" for name in _RATES if columns[name] is not None]
    return " ".join(said) + (f" above {columns['tier_threshold']} input tokens" if columns["tier_threshold"] else "")
