"""Names of models as people write them, and the catalogue's model that each means.

Beside its slug a model answers to its vendor's name for it, to both with a vendor in front (`openai/gpt-4o`,
`models/gemini-2.5-pro`), with `-latest` or a date behind, in any case, and with `.` for `-`. A slug always wins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiagents.core.errors import InvalidRequest, ModelNotFound

if TYPE_CHECKING:
    from billing.catalogue.snapshot import ModelCard

# What stands before the slash -> the provider.
_VENDORS = {"openai": "openai", "anthropic": "anthropic", "google": "google", "gemini": "google", "models": "google"}
# A day (20251001, 2024-08-06, or OpenAI's 0613), Gemini's version (002), or `latest`.
_MONTH_DAY = r"(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"
_VERSION = re.compile(rf"[-@](?:20\d\d-?{_MONTH_DAY}|{_MONTH_DAY}|00[1-9]|latest)\Z")
_MOST_SUGGESTED = 10


class AmbiguousModel(InvalidRequest):
    """Several models have this name; `details.candidates` holds their slugs."""

    code = "model_ambiguous"


@dataclass(frozen=True, slots=True)
class _Index:
    """Cards by the key of a name: of their slugs and vendor's names, and of both without a version."""

    cards: Mapping[str, ModelCard]
    whole: Mapping[str, tuple[ModelCard, ...]]
    bare: Mapping[str, tuple[ModelCard, ...]]


_index: _Index | None = None


def find(cards: Mapping[str, ModelCard], name: str, param: str = "model") -> ModelCard:
    """Return the card that a name means.

    Raises AmbiguousModel if several models have the name, ModelNotFound if none has; its details suggest those that
    begin with it.
    """
    if (card := cards.get(name)) is not None:
        return card
    index = _indexed(cards)
    for wanted, vendor in _without_vendors(name):
        if found := _named(index, _key(wanted), vendor):
            return _the_one(found, name, wanted, param)
    raise _not_found(cards, name, param)


def _without_vendors(name: str) -> Iterator[tuple[str, str]]:
    """Yield the name as it is, then without each part in front of a slash, with the part that was removed."""
    yield name, ""
    while "/" in name:
        vendor, _, name = name.partition("/")
        yield name, vendor.lower()


def _named(index: _Index, key: str, vendor: str) -> list[ModelCard]:
    provider = _VENDORS.get(vendor, "")

    def of_vendor(found: tuple[ModelCard, ...]) -> list[ModelCard]:
        return [card for card in found if not vendor or card.provider == provider or card.connection.lower() == vendor]

    if found := of_vendor(index.whole.get(key, ())):
        return found
    bare = _VERSION.sub("", key)
    if bare == key:
        return of_vendor(index.bare.get(key, ()))
    # The vendor's own name has a date: another date is another model.
    latest = key.endswith("-latest")
    found = [card for card in of_vendor(index.whole.get(bare, ())) if latest or not _VERSION.search(_key(card.vendor_model))]
    return found or (of_vendor(index.bare.get(bare, ())) if latest else [])


def _the_one(found: list[ModelCard], name: str, wanted: str, param: str) -> ModelCard:
    key = _key(wanted)
    by_slug = [card for card in found if _key(card.slug) in (key, _VERSION.sub("", key))]
    usable = [card for card in by_slug or found if card.usable]
    left = usable or by_slug or found
    if len(left) > 1:
        slugs = sorted(card.slug for card in left)
        message = f"The model {name[:100]!r} is ambiguous: it may be {' or '.join(slugs[:_MOST_SUGGESTED])}."
        raise AmbiguousModel(message, param=param, details={"candidates": slugs})
    return left[0]


def _not_found(cards: Mapping[str, ModelCard], name: str, param: str) -> ModelNotFound:
    key = _key(name.rpartition("/")[2])
    near = sorted(card.slug for card in cards.values() if card.usable and key and _key(card.slug).startswith(f"{key}-"))[:_MOST_SUGGESTED]
    message = f"The model {name[:100]!r} does not exist." + (f" Did you mean {' or '.join(near)}?" if near else "")
    return ModelNotFound(message, param=param, details={"model": name[:100], "candidates": near})


def _key(name: str) -> str:
    return name.lower().replace(".", "-")


def _indexed(cards: Mapping[str, ModelCard]) -> _Index:
    """Return the index of these cards, which is kept until the catalogue changes."""
    global _index
    found = _index
    if found is None or found.cards is not cards:
        whole: dict[str, dict[str, ModelCard]] = defaultdict(dict)
        bare: dict[str, dict[str, ModelCard]] = defaultdict(dict)
        for card in cards.values():
            for key in {_key(card.slug), _key(card.vendor_model), _key(card.vendor_model.removeprefix("models/"))}:
                whole[key][card.slug] = card
                bare[_VERSION.sub("", key)][card.slug] = card
        found = _index = _Index(cards, _frozen(whole), _frozen(bare))
    return found


def _frozen(found: dict[str, dict[str, ModelCard]]) -> dict[str, tuple[ModelCard, ...]]:
    return {key: tuple(by_slug.values()) for key, by_slug in found.items()}
