"""Cost by model and key, and the cost of the same work with other models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings

from aiagents.core.jsonio import money
from billing.budgets import budgets, subjects
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import Catalogue
from billing.models import Budget, UsageLog, UsageRollup
from billing.pricing import Usage
from billing.reports import figures, reading, savings, shapes, sums
from billing.reports.figures import add_up, share, shown, time
from billing.reports.rollups import DAY

Slice = UsageRollup.Slice
_NAMES = (*sums.USUAL, "failed_cost_usd", "estimated_calls", "overrun_usd", "max_input_tokens", "max_output_tokens")
# The least data that a suggestion about a model or a key needs.
FEWEST_CALLS = 50
FEWEST_DAYS = 3
LEAST_USD = Decimal(1)
# The days of a month in "saving per month".
MONTH = 30


def cost_optimization(from_: datetime, to: datetime) -> shapes.CostOptimization:
    """Return the models by cost, each with a cheaper `alternative` if there is one, and `suggestions` with evidence.

    An alternative has all capabilities of the model and about the same quality in the catalogue. Its cost is computed
    from the tokens that were used. A suggestion needs at least FEWEST_CALLS calls.
    """
    figures.checked(from_, to)
    models = reading.read(from_, to, Slice.MODEL, ("model",), names=_NAMES)
    total = add_up(models.values(), _NAMES)
    known = catalogue.current_sync()
    days = observed_days(from_, to)
    lines = [_line(model, one, total, known, days) for model, one in figures.by_cost(models)]
    suggestions = [found for line in lines for found in _about_model(line)] + _about_keys(from_, to, days)
    saving = sum((Decimal(line["alternative"]["saving_usd"]) for line in lines if line["alternative"]), Decimal(0))
    return {
        "from": time(from_),
        "to": time(to),
        "baseline_model": settings.ROUTING_BASELINE_MODEL,
        "totals": {
            **shown(total, shapes.DetailedTotals),
            "cached_share": share(total["cached_input_tokens"], total["input_tokens"]),
        },
        "possible_saving_usd": money(saving),
        "possible_saving_per_month_usd": per_month(saving, days),
        "observed_days": round(float(days), 1),
        "models": lines,
        "suggestions": sorted(suggestions, key=lambda one: -Decimal(one["saving_per_month_usd"] or 0)),
    }


def observed_days(from_: datetime, to: datetime) -> Decimal:
    """Return how many days of [from_, to) lie between the first call of all and now."""
    first = UsageLog.objects.order_by("created_at").values_list("created_at", flat=True).first()
    if first is None:
        return Decimal(0)
    return max(Decimal(0), Decimal((min(to, budgets.database_now()) - max(from_, first)) / DAY))


def per_month(amount: Decimal, days: Decimal) -> str | None:
    """Return the amount (USD) extrapolated to a month; None when fewer than FEWEST_DAYS days were observed."""
    return None if days < FEWEST_DAYS else money((amount * MONTH / days).quantize(figures.PLACES))


def _line(model: str, one: dict[str, Any], total: dict[str, Any], known: Catalogue, days: Decimal) -> shapes.ModelCost:
    card = known.cards.get(model)
    other = None
    if card is not None and one["calls"] >= FEWEST_CALLS and one["cost_usd"] >= LEAST_USD:
        tokens = Usage(*(one[name] for name in sums.TOKENS))
        work = savings.Work(tokens, one["cost_usd"], one["max_input_tokens"], one["max_output_tokens"])
        other = savings.cheapest_alike(work, card, known.cards.values())
    return {
        "key": model,
        "label": card.display_name if card else model,
        "provider": card.provider if card else "",
        "quality": card.quality if card else None,
        "lifecycle": card.lifecycle if card else "unknown",
        "replaced_by": card.replaced_by if card else "",
        "price_known": bool(card and card.rates),
        **shown(one, shapes.DetailedTotals),
        "cost_share": share(one["cost_usd"], total["cost_usd"]),
        "cached_share": share(one["cached_input_tokens"], one["input_tokens"]),
        "cost_per_call_usd": money((one["cost_usd"] / one["calls"]).quantize(figures.PLACES)) if one["calls"] else None,
        "alternative": None
        if other is None
        else {
            "model": other.card.slug,
            "label": other.card.display_name,
            "quality": other.card.quality,
            "cost_usd": money(other.cost_usd),
            "saving_usd": money(other.saving_usd),
            "saving_per_month_usd": per_month(other.saving_usd, days),
        },
    }


def _about_model(line: shapes.ModelCost) -> list[shapes.Suggestion]:
    found = []
    if other := line["alternative"]:
        found.append(
            _suggestion(
                "cheaper_model",
                f"{other['label']} instead of {line['label']}",
                f"{other['label']} (quality {other['quality']}, {line['label']} has {line['quality']}) would have processed the same tokens"
                f" for ${_short(other['cost_usd'])} instead of ${_short(line['cost_usd'])}.",
                {"model": line["key"], "calls": line["calls"], "cost_usd": line["cost_usd"], "alternative": other["model"]}
                | {"alternative_cost_usd": other["cost_usd"]},
                other["saving_per_month_usd"],
            )
        )
    if line["calls"] >= FEWEST_CALLS and not line["price_known"]:
        found.append(
            _suggestion(
                "price_unknown",
                f"Enter the price of {line['label']}",
                f"The price of {line['label']} is unknown: its calls are charged at a ceiling until a price is entered.",
                {"model": line["key"], "calls": line["calls"], "cost_usd": line["cost_usd"]},
            )
        )
    if line["calls"] >= FEWEST_CALLS and line["lifecycle"] in ("deprecated", "retired") and line["replaced_by"]:
        found.append(
            _suggestion(
                "deprecated_model",
                f"Move from {line['label']} to {line['replaced_by']}",
                f"{line['label']} is {line['lifecycle']}; its vendor names {line['replaced_by']} as the successor.",
                {"model": line["key"], "calls": line["calls"], "replaced_by": line["replaced_by"]},
            )
        )
    failed = line["failed_calls"]
    if line["calls"] >= FEWEST_CALLS and failed / line["calls"] >= 0.1:
        found.append(
            _suggestion(
                "many_failed_calls",
                f"{failed / line['calls']:.0%} of the calls of {line['label']} fail",
                f"{failed:,} of {line['calls']:,} calls failed, broke off or were cancelled, and cost ${_short(line['failed_cost_usd'])}.",
                {"model": line["key"], "calls": line["calls"], "failed_calls": failed, "failed_cost_usd": line["failed_cost_usd"]},
            )
        )
    return found


def _about_keys(from_: datetime, to: datetime, days: Decimal) -> list[shapes.Suggestion]:
    """Return suggestions about keys that spend and have no limit."""
    keys = figures.by_cost(reading.read(from_, to, Slice.KEY, ("api_key_id",), names=figures.LINE))
    spending = [(key, total) for key, total in keys if key is not None and total["cost_usd"] >= LEAST_USD][:50]
    ids = [key for key, _ in spending]
    limited = set(
        Budget.objects.filter(scope=Budget.Scope.KEY, scope_id__in=ids).exclude(limit_usd=None).values_list("scope_id", flat=True)
    )
    names = subjects.named(Budget.Scope.KEY, subjects.active(Budget.Scope.KEY, pk__in=ids).values_list("pk", flat=True))
    return [
        _suggestion(
            "key_without_budget",
            f"Give the key {names[key].name} a budget",
            f"It spent ${_short(money(total['cost_usd']))} in {days:.0f} days, and only its user's budget limits it.",
            {"key_id": str(key), "user_id": str(names[key].user_id), "calls": total["calls"], "cost_usd": money(total["cost_usd"])},
        )
        for key, total in spending
        if key not in limited and key in names
    ][:10]


def _suggestion(kind: str, title: str, text: str, evidence: dict[str, Any], saving: str | None = None) -> shapes.Suggestion:
    return {"kind": kind, "title": title, "text": text, "evidence": evidence, "saving_per_month_usd": saving}


def _short(amount: str) -> str:
    return f"{Decimal(amount):,.2f}"
