"""A snapshot of the catalogue (models and their prices) per process, at most a few seconds old.

A counter in Valkey announces changes to every process. Without Valkey each process reloads its snapshot every few
seconds. Without the database the last snapshot stays in use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, cast

import redis
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.metrics import counting
from aiagents.core.valkey import clients as valkey
from billing import pricing
from billing.catalogue import names
from billing.models import AIModel, ModelPrice, UnpricedUsage
from billing.pricing import Rates

logger = logging.getLogger(__name__)
VERSION_KEY = "billing:catalogue"
RATE_COLUMNS = (
    "input", "output", "cached_input", "cache_write", "cache_write_1h",
    "tier_threshold", "tier_input", "tier_cached_input", "tier_cache_write", "tier_cache_write_1h", "tier_output",
)  # fmt: skip
EMBEDDINGS = "embeddings"
# Columns of a price that hold what has a price of its own, by name (billing/models/beside.py).
BESIDE_COLUMNS = ("media", "units", "modes")
CAPABILITIES = ("vision", "files", "tools", "json", "reasoning", "temperature", EMBEDDINGS)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model as the router and the pages use it. `rates` None: its price is unknown."""

    slug: str
    display_name: str
    provider: str
    connection: str
    vendor_model: str
    context_window: int
    max_output_tokens: int
    capabilities: frozenset[str]
    quality: int
    tokens_per_second: float
    ttft_ms: int
    lifecycle: str
    replaced_by: str
    enabled: bool
    rates: Rates | None
    price_id: int | None
    dimensions: int = 0
    endpoint: str = ""
    # Users' votes on its answers, and the points that they add to its quality in `auto` routing.
    votes_up: int = 0
    votes_down: int = 0
    votes_points: float = 0.0

    @property
    def embeds(self) -> bool:
        """Whether this is an embedding model, which returns vectors and cannot chat."""
        return EMBEDDINGS in self.capabilities

    @property
    def quality_in_use(self) -> float:
        """Return the quality that `auto` routing uses: the catalogue's value plus the points of users' votes."""
        return min(100.0, max(0.0, self.quality + self.votes_points)) if self.votes_points else self.quality

    @property
    def usable(self) -> bool:
        return self.enabled and self.lifecycle != AIModel.Lifecycle.RETIRED


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models at one moment, by slug."""

    cards: Mapping[str, ModelCard]
    # When the next known price takes effect.
    valid_until: datetime | None = None
    # Unknown fields of requests that brought usage without a price, by provider.
    blocked: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, name: str, param: str = "model") -> ModelCard:
        """Return the card of a model by its slug or another of its names (names.py), also of a disabled one.

        Raises ModelNotFound for an unknown name, AmbiguousModel for a name of several models.
        """
        card = self.cards.get(name)
        return names.find(self.cards, name, param) if card is None else card

    def usable(self) -> tuple[ModelCard, ...]:
        """Return the models that may be called now."""
        return tuple(card for card in self.cards.values() if card.usable)


@dataclass(slots=True)
class _Snapshot:
    catalogue: Catalogue
    version: bytes | None
    loaded_at: float
    checked_at: float


current_snapshot: _Snapshot | None = None
loading_lock = threading.Lock()
_counts = counting.cache("catalogue")


async def current() -> Catalogue:
    """Return the catalogue, at most CATALOGUE_CHECK_SECONDS old."""
    found = current_snapshot
    if found is not None and _is_fresh(found):
        _counts.hits += 1
        return found.catalogue
    if found is not None and loading_lock.locked() and settings.CACHE_ENABLED:
        return found.catalogue  # another thread is loading the next one
    return await in_db(current_sync)


def current_sync() -> Catalogue:
    """Return the same as `current`, for sync code."""
    found = current_snapshot
    if found is not None and _is_fresh(found):
        _counts.hits += 1
        return found.catalogue
    with loading_lock:
        found = current_snapshot
        return found.catalogue if found is not None and _is_fresh(found) else _refreshed(found)


def invalidate() -> None:
    """Drop the snapshot of this process now, and those of all processes once the current transaction is committed."""
    global current_snapshot
    current_snapshot = None
    transaction.on_commit(_announce)


def baseline(catalogue: Catalogue, model: str = "") -> Rates | None:
    """Return the baseline model's rates, which savings are compared with; None if unknown or for an embedding model."""
    if (used := catalogue.cards.get(model)) is not None and used.embeds:
        return None
    card = catalogue.cards.get(settings.ROUTING_BASELINE_MODEL)
    return card.rates if card else None


def _announce() -> None:
    global current_snapshot
    current_snapshot = None
    try:
        valkey.sync_client().incr(VERSION_KEY)
    except redis.RedisError:
        logger.warning("catalogue_change_not_announced")  # the other processes see the change with their next reload


def _is_fresh(found: _Snapshot) -> bool:
    """Return whether the snapshot is young enough to be used without checking the counter."""
    return settings.CACHE_ENABLED and time.monotonic() - found.checked_at < settings.CATALOGUE_CHECK_SECONDS


def _refreshed(found: _Snapshot | None) -> Catalogue:
    global current_snapshot
    version = _version()
    now = time.monotonic()
    if (
        settings.CACHE_ENABLED
        and found is not None
        and version == found.version
        and now - found.loaded_at < settings.CATALOGUE_RELOAD_SECONDS
        and _valid(found.catalogue)
    ):
        found.checked_at = now
        _counts.hits += 1
        return found.catalogue
    _counts.misses += 1
    try:
        catalogue = load()
    except (DatabaseError, Unavailable):
        if found is None:
            raise
        found.checked_at = now  # use the last one until the database is back
        return found.catalogue
    current_snapshot = _Snapshot(catalogue, version, now, now)
    return catalogue


def _valid(catalogue: Catalogue) -> bool:
    return catalogue.valid_until is None or timezone.now() < catalogue.valid_until


def _version() -> bytes | None:
    try:
        return cast(bytes | None, valkey.sync_client().get(VERSION_KEY))  # this client does not decode
    except redis.RedisError:
        return None


def load(at: datetime | None = None) -> Catalogue:
    """Load the catalogue from the database, with the prices that are valid `at` a time (default: now)."""
    at = at or timezone.now()
    prices: dict[Any, ModelPrice] = {}
    following: list[datetime] = []
    for price in ModelPrice.objects.order_by("effective_from"):
        if price.effective_from <= at:
            prices[price.model_id] = price
        else:
            following.append(price.effective_from)
    cards = {model.slug: card(model, prices.get(model.pk)) for model in AIModel.objects.all()}
    return Catalogue(MappingProxyType(cards), min(following, default=None), _blocked(cards))


def _blocked(cards: Mapping[str, ModelCard]) -> Mapping[str, frozenset[str]]:
    """Return the fields that brought usage to a model which still has no price for it."""
    found: dict[str, frozenset[str]] = {}
    for row in UnpricedUsage.objects.exclude(fields=[]):
        if not has_price(cards.get(row.model), row.name):
            found[row.provider] = found.get(row.provider, frozenset()) | frozenset(row.fields)
    return MappingProxyType(found)


def has_price(card: ModelCard | None, name: str) -> bool:
    """Return whether a model's price has this unit, or this way of processing (a name with `=`)."""
    if card is None or card.rates is None:
        return False
    return pricing.in_mode(card.rates, name) is not None if "=" in name else name in dict(card.rates.units)


def card(model: AIModel, price: ModelPrice | None) -> ModelCard:
    """Return a model's card with a price."""
    return ModelCard(
        slug=model.slug,
        display_name=model.display_name,
        provider=model.provider,
        connection=model.connection,
        vendor_model=model.vendor_model,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=frozenset(name for name in CAPABILITIES if getattr(model, name)),
        quality=model.quality,
        tokens_per_second=model.tokens_per_second,
        ttft_ms=model.ttft_ms,
        lifecycle=model.lifecycle,
        replaced_by=model.replaced_by,
        enabled=model.enabled,
        rates=rates_of(price) if price else None,
        price_id=price.pk if price else None,
        dimensions=model.dimensions,
        endpoint=model.endpoint,
        votes_up=model.votes_up,
        votes_down=model.votes_down,
        votes_points=model.votes_points if settings.ROUTING_FEEDBACK else 0.0,
    )


def rates_of(price: ModelPrice) -> Rates:
    """Return the rates of a price row, with those of its other ways of processing in `modes`."""
    media, units = (tuple((name, Decimal(rate)) for name, rate in sorted(column.items())) for column in (price.media, price.units))
    base = Rates(**{name: getattr(price, name) for name in RATE_COLUMNS}, source=price.source, media=media, units=units)
    if not price.modes:
        return base
    modes: list[tuple[str, Rates | Decimal]] = [("", base)]
    for name, given in price.modes.items():
        if "factor" in given:
            modes.append((name, Decimal(given["factor"])))
            continue
        rates = Rates.from_json(given)
        shared: dict[str, Any] = {"units": units, "tier_threshold": base.tier_threshold, "source": base.source}
        modes.append((name, replace(rates, media=rates.media or media, **shared)))
    return replace(base, modes=tuple(modes))
