"""Address and key of a model: those of a saved connection, else the environment's, else the simulator's."""

from __future__ import annotations

import threading
import time
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents import secrets
from agents.models import ProviderConnection
from agents.providers.base import Target
from agents.providers.errors import NotConfigured
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from aiagents.core.metrics import counting
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import Catalogue, ModelCard

# Seconds for which this process uses its copy of the saved connections.
_FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    by_slug: dict[str, ProviderConnection]
    defaults: dict[str, ProviderConnection]
    loaded_at: float


_snapshot: _Snapshot | None = None
_slugs: tuple[_Snapshot, Catalogue, frozenset[str]] | None = None
_loading = threading.Lock()
_counts = counting.cache("connections")


def kinds() -> set[str]:
    """Return the kinds of the enabled saved connections (for sync code)."""
    return set(ProviderConnection.objects.filter(enabled=True).values_list("kind", flat=True))


def invalidate() -> None:
    """Drop this process's copy after a change. The other processes reload theirs within two seconds."""
    global _snapshot
    _snapshot = None


async def configured() -> Container[str]:
    """Return the slugs of all models that have an address and a key."""
    global _slugs
    found, cards = await _current(), await catalogue.current()
    if _slugs is None or _slugs[0] is not found or _slugs[1] is not cards:
        _slugs = (found, cards, frozenset(slug for slug, card in cards.cards.items() if _reachable(found, card)))
    return _slugs[2]


async def passing() -> Container[str]:
    """Return the slugs of the models whose compatible server gets a client's own body of chat completions."""
    found, cards = await _current(), await catalogue.current()
    if not any(connection.passes_through for connection in found.by_slug.values()):
        return frozenset()
    saved = ((slug, _saved(found, card)) for slug, card in cards.cards.items() if card.provider == "openai_compatible")
    return frozenset(slug for slug, connection in saved if connection is not None and connection.passes_through)


async def target(card: ModelCard, max_output_tokens: int) -> Target:
    """Return the address and key of a model. Raises NotConfigured if there is none."""
    found = await _current()
    saved = _saved(found, card)
    of_card: dict[str, Any] = {
        "name": card.slug,
        "endpoint": card.endpoint,
        "temperature": "temperature" in card.capabilities,
        "reasoning": "reasoning" in card.capabilities,
    }
    if saved is not None:
        return Target(
            provider=card.provider,
            model=card.vendor_model,
            base_url=saved.base_url,
            api_key=secrets.decrypt(saved.api_key_encrypted) or "none",
            connection=saved.slug,
            requires_finish_reason=saved.requires_finish_reason,
            sends_usage=saved.sends_usage,
            passes_through=saved.passes_through,
            max_output_tokens=max_output_tokens,
            **of_card,
        )
    vendor = settings.VENDORS.get(card.provider)
    if card.connection or vendor is None:
        raise NotConfigured(details={"model": card.slug})
    simulated = not vendor["api_key"]
    if simulated and not settings.SIMULATOR:
        raise NotConfigured(details={"model": card.slug})
    wire = "/v1" if card.provider == "openai" else ""
    return Target(
        provider=card.provider,
        model=card.vendor_model,
        base_url=settings.SIMULATOR_URL + wire if simulated else vendor["base_url"],
        api_key="simulated" if simulated else vendor["api_key"],
        simulated=simulated,
        max_output_tokens=max_output_tokens,
        **of_card,
    )


def _saved(found: _Snapshot, card: ModelCard) -> ProviderConnection | None:
    if card.connection:
        return found.by_slug.get(card.connection)
    return found.defaults.get(card.provider)


def _reachable(found: _Snapshot, card: ModelCard) -> bool:
    if _saved(found, card) is not None:
        return True
    vendor = settings.VENDORS.get(card.provider)
    return not card.connection and vendor is not None and bool(vendor["api_key"] or settings.SIMULATOR)


async def _current() -> _Snapshot:
    found = _snapshot
    if found is not None and _fresh(found):
        _counts.hits += 1
        return found
    if found is not None and _loading.locked() and settings.CACHE_ENABLED:
        return found  # another task is loading the next snapshot
    try:
        return await in_db(_load)
    except Unavailable:
        if found is None:
            raise
        return found


def _fresh(found: _Snapshot) -> bool:
    return settings.CACHE_ENABLED and time.monotonic() - found.loaded_at < _FRESH_SECONDS


def _load() -> _Snapshot:
    global _snapshot
    with _loading:
        found = _snapshot
        if found is not None and _fresh(found):
            return found
        _counts.misses += 1
        rows = list(ProviderConnection.objects.filter(enabled=True))
        _snapshot = _Snapshot({row.slug: row for row in rows}, {row.kind: row for row in rows if row.is_default}, time.monotonic())
        return _snapshot
