"""Models and requests for the tests of routing."""

from __future__ import annotations

from decimal import Decimal

from agents.routing.rank import Facts
from billing.catalogue.snapshot import ModelCard
from billing.pricing import Rates


def card(slug: str, **changes) -> ModelCard:
    price = changes.pop("price", (1, 4))
    fields = {
        "slug": slug, "display_name": slug, "provider": "openai", "connection": "", "vendor_model": slug, "context_window": 100_000,
        "max_output_tokens": 8000, "capabilities": frozenset({"tools", "json", "vision", "temperature"}), "quality": 50,
        "tokens_per_second": 60.0, "ttft_ms": 700, "lifecycle": "active", "replaced_by": "", "enabled": True,
        "rates": Rates(Decimal(str(price[0])), Decimal(str(price[1])), Decimal(str(price[0])) / 2) if price else None, "price_id": 1,
    }  # fmt: skip
    return ModelCard(**(fields | changes))


def facts(requested: str = "auto", **changes) -> Facts:
    return Facts(**({"requested": requested, "goal": "balanced", "needs": frozenset(), "input_tokens": 2000, "difficulty": 0.5} | changes))
