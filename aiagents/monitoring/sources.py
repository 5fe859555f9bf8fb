"""Figures of the apps for health, the minute's sample and the live view. `aiagents/wiring.py` registers them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Sum
from django.utils import timezone

from agents.calls import running as running_calls
from agents.routing import health as breakers
from aiagents.core.db.calls import in_db
from aiagents.core.jsonio import money
from aiagents.monitoring import health, shapes
from billing.catalogue import snapshot as catalogue
from billing.models import Hold, UsageLog
from billing.money.exact_sums import exact_sum
from chat.turns import running as registry

# The share of failed calls in the last minute at which a vendor is "degraded", even if no breaker is open.
BAD_SHARE = 0.5
SPEND_SECONDS = 5.0


async def vendors() -> dict[str, shapes.Vendor]:
    """The state of each vendor connection by its models' recent outcomes in the breakers, without calls to vendors.

    Status `idle`: no recent calls. `down`: the vendor refuses its key, or the breaker of every called model is open.
    """
    seen, cards = breakers.snapshot(), (await catalogue.current()).cards
    keys = {breakers.connection_key(card) for card in cards.values() if card.usable}
    return {key.removeprefix("@"): _vendor(key, seen, cards) for key in sorted(keys)}


def _vendor(key: str, seen: Any, cards: Any) -> shapes.Vendor:
    models = {slug: seen[slug] for slug, card in cards.items() if slug in seen and breakers.connection_key(card) == key}
    shut = sorted(slug for slug, one in models.items() if one.state == "open")
    samples = sum(one.samples for one in models.values())
    worst = max((one.error_rate for one in models.values()), default=0.0)
    first_tokens = [one.ttft_ms for one in models.values() if one.ttft_ms is not None]
    refused = key in seen and seen[key].state == "open"
    if refused or (models and len(shut) == len(models)):
        status = "down"
    elif shut or worst >= BAD_SHARE:
        status = "degraded"
    else:
        status = "ok" if samples or first_tokens else "idle"
    return {
        "status": status,
        # The mean time to the first token over the vendor's models, not the duration of this probe.
        "latency_ms": round(sum(first_tokens) / len(first_tokens), 1) if first_tokens else None,
        "error_rate": round(worst, 3),
        "samples": samples,
        "open": shut,
        "simulated": key[1:] in settings.VENDORS and settings.SIMULATOR and not settings.VENDORS[key[1:]]["api_key"],
    }


async def providers() -> health.Finding:
    """Degraded while any vendor is degraded or down; other vendors may still answer."""
    found = await vendors()
    well = all(one["status"] in ("ok", "idle") for one in found.values())
    return health.Finding("ok" if well else "degraded", {"vendors": found})


def running_turns() -> int:
    """The number of running turns in this process."""
    return registry.running_everywhere()


def tokens_in_flight() -> int:
    """The estimated output tokens of the vendor calls that run in this process."""
    return running_calls.tokens_so_far()


def open_holds() -> dict[str, Any]:
    """Columns of the sample: the number of open holds, and their sum in USD."""
    found = Hold.objects.filter(status=Hold.Status.OPEN).aggregate(count=Count("pk"), held=exact_sum("amount_usd"))
    return {"open_holds": found["count"], "held_usd": found["held"]}


async def holds() -> shapes.OpenHolds:
    found = await in_db(open_holds)
    return {"open": found["open_holds"], "held_usd": money(found["held_usd"])}


async def today() -> shapes.Today:
    """The usage and cost of today, in the budgets' time zone."""
    return await in_db(_today)


def _today() -> shapes.Today:
    zone = ZoneInfo(settings.BUDGET_TIME_ZONE)
    local = timezone.now().astimezone(zone)
    rows = UsageLog.objects.filter(created_at__gte=datetime(local.year, local.month, local.day, tzinfo=zone))
    found = rows.aggregate(
        calls=Count("pk"),
        cost=exact_sum("cost_usd"),
        input_tokens=Sum("input_tokens", default=0),
        output_tokens=Sum("output_tokens", default=0),
    )
    return {
        "spend_usd": money(found["cost"]),
        "calls": found["calls"],
        "input_tokens": found["input_tokens"],
        "output_tokens": found["output_tokens"],
    }
