"""What the readiness report says about vendors: their recent outcomes, as the breakers know them."""

from __future__ import annotations

from agents import health as breakers
from aiagents.monitoring import health


async def providers() -> health.Finding:
    """Degraded while a breaker is open; no vendor is called to find out."""
    recent = breakers.recent()
    shut = sorted(name for name, one in recent.items() if one["state"] == "open")
    return health.Finding("degraded" if shut else "ok", {"open": shut, "recent": recent})


def register() -> None:
    health.register("providers", providers)
