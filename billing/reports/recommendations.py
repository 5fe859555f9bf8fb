"""Recommendations for a user, computed from that user's calls only.

Each recommendation contains its evidence. A saving compares the costs of the same tokens, extrapolated to a month of 30
days. It is None where it cannot be computed. With too few calls there are no recommendations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Min, Q, QuerySet, Sum, Window
from django.db.models.functions import Coalesce, Lag

from aiagents.core.jsonio import money
from billing.budgets import budgets, subjects
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard
from billing.models import Budget, UsageLog
from billing.money.exact_sums import ExactSum, exact_sum
from billing.pricing import Usage
from billing.reports import savings, sums

DAYS = 30
# The least data for a recommendation: calls and days in all, calls of one model, and dollars saved per month.
FEWEST_CALLS, FEWEST_DAYS, FEWEST_OF_MODEL = 30, 3, 30
LEAST_SAVING = Decimal("0.10")
# About how long a vendor caches a prompt, and the fewest tokens that it caches.
CACHE_LIFE = timedelta(minutes=5)
CACHE_LEAST_TOKENS = 1024
# The most recent calls of one model that are examined one by one.
MOST_ROWS = 50_000
FAILED_SHARE, CUT_SHARE, REASONING_SHARE = 0.15, 0.10, 0.60
_CENT_PARTS = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A recommendation. `evidence`: its figures. `saving_per_month_usd` is None where it cannot be computed."""

    kind: str
    title: str
    text: str
    evidence: dict[str, Any]
    saving_per_month_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The recommendations of a user. `enough_data` is False when there are too few calls or days."""

    from_: datetime
    to: datetime
    calls: int
    cost_usd: Decimal
    observed_days: float
    enough_data: bool
    recommendations: tuple[Recommendation, ...] = field(default=())


def for_user(user_id: UUID, now: datetime | None = None) -> Report:
    """Return recommendations from the user's last 30 days, largest saving first."""
    now = now or budgets.database_now()
    from_ = now - timedelta(days=DAYS)
    user_calls = UsageLog.objects.filter(user_id=user_id, created_at__gte=from_, created_at__lt=now).order_by()
    seen = user_calls.aggregate(calls=Count("pk"), cost=exact_sum("cost_usd"), first=Min("created_at"))
    days = Decimal((now - seen["first"]) / timedelta(days=1)) if seen["first"] else Decimal(0)
    report = Report(from_, now, seen["calls"], seen["cost"], round(float(days), 1), seen["calls"] >= FEWEST_CALLS and days >= FEWEST_DAYS)
    if not report.enough_data:
        return report
    cards = catalogue.current_sync().cards
    found: list[Recommendation] = []
    for model, used in _models(user_calls):
        if (card := cards.get(model)) is None or used["calls"] < FEWEST_OF_MODEL:
            continue
        found += [*_about(card, used, cards.values(), days), *_caching(card, user_calls, days)]
    found += _keys(user_calls)
    largest = sorted(found, key=lambda one: (-(one.saving_per_month_usd or Decimal(0)), one.kind, one.title))
    return Report(report.from_, now, report.calls, report.cost_usd, report.observed_days, True, tuple(largest))


def _models(user_calls: QuerySet[UsageLog]) -> list[tuple[str, dict[str, Any]]]:
    """Return the sums of the user's calls by model. `pinned`: the calls that requested this model by name."""
    names = ("calls", "failed_calls", *sums.TOKENS, "cost_usd", "failed_cost_usd", "max_input_tokens", "max_output_tokens")
    found: dict[str, dict[str, Any]] = {}
    also = {
        "cut": Count("pk", filter=Q(finish_reason="length")),
        "ok_output": Sum("output_tokens", filter=Q(status=UsageLog.Status.OK), default=0),
    }
    rows: Any = user_calls.annotate(pinned=_PINNED)
    for row in rows.values("model", "pinned").annotate(**sums.over_log(names), **also):
        used = found.setdefault(row["model"], sums.zero(names) | {"cut": 0, "ok_output": 0, "pinned": sums.zero(names)})
        sums.add(used, row, names)
        used["cut"] += row["cut"]
        used["ok_output"] += row["ok_output"]
        if row["pinned"]:
            sums.add(used["pinned"], row, names)
    return sorted(found.items())


_PINNED = Q(requested_model=F("model"))


def _about(card: ModelCard, used: dict[str, Any], cards: Any, days: Decimal) -> Iterator[Recommendation]:
    name, calls = card.display_name, used["calls"]
    pinned = used["pinned"]
    if pinned["calls"] >= FEWEST_OF_MODEL:
        tokens = Usage(*(pinned[token] for token in sums.TOKENS))
        work = savings.Work(tokens, pinned["cost_usd"], pinned["max_input_tokens"], pinned["max_output_tokens"])
        other = savings.cheapest_alike(work, card, cards)
        if other is not None and (saving := _month(other.saving_usd, days)) >= LEAST_SAVING:
            yield Recommendation(
                "cheaper_model",
                f"{other.card.display_name} instead of {name}",
                f"{pinned['calls']:,} of your calls requested {name} (quality {card.quality}). {other.card.display_name} (quality"
                f" {other.card.quality}) has the same capabilities and costs less for the same tokens. Or choose `auto`.",
                {
                    "model": card.slug, "calls": pinned["calls"], "cost_usd": money(pinned["cost_usd"]),
                    "alternative": other.card.slug, "alternative_cost_usd": money(other.cost_usd),
                    "quality": card.quality, "alternative_quality": other.card.quality,
                },
                saving,
            )  # fmt: skip
        if card.lifecycle != "active" and card.replaced_by:
            yield Recommendation(
                "deprecated_model",
                f"Move from {name} to {card.replaced_by}",
                f"{name} is {card.lifecycle}. Its vendor names {card.replaced_by} as the successor.",
                {"model": card.slug, "calls": pinned["calls"], "lifecycle": card.lifecycle, "replaced_by": card.replaced_by},
            )
    if used["failed_calls"] / calls >= FAILED_SHARE:
        yield Recommendation(
            "many_failed_calls",
            f"{used['failed_calls'] / calls:.0%} of your calls of {name} do not succeed",
            "They failed, were cancelled or broke off. You were charged for the tokens that they had used by then.",
            {"model": card.slug, "calls": calls, "failed_calls": used["failed_calls"], "failed_cost_usd": money(used["failed_cost_usd"])},
            # The saving is the cost of these calls.
            _month(used["failed_cost_usd"], days) or None,
        )
    if used["cut"] / calls >= CUT_SHARE:
        yield Recommendation(
            "answers_cut_off",
            f"{used['cut'] / calls:.0%} of the answers of {name} are cut off",
            "They reached their limit of output tokens. Raise `max_output_tokens`, or request shorter answers: you pay for cut-off ones.",
            {"model": card.slug, "calls": calls, "cut_off": used["cut"]},
        )
    if card.rates is not None and used["output_tokens"]:
        yield from _outputs(card, used, days)


def _outputs(card: ModelCard, used: dict[str, Any], days: Decimal) -> Iterator[Recommendation]:
    """Recommend less output where it makes up most of the cost: reasoning, or long answers."""
    assert card.rates is not None
    output_cost = card.rates.output * used["output_tokens"] / 1_000_000
    mean = used["output_tokens"] / used["calls"]
    if used["reasoning_tokens"] / used["output_tokens"] >= REASONING_SHARE:
        thinking = card.rates.output * used["reasoning_tokens"] / 1_000_000
        yield Recommendation(
            "much_reasoning",
            f"{used['reasoning_tokens'] / used['output_tokens']:.0%} of the output of {card.display_name} is reasoning",
            f"At its price that is ${thinking:,.2f} of ${used['cost_usd']:,.2f}. A lower reasoning effort, or a model without"
            " reasoning, may be enough.",
            {"model": card.slug, "calls": used["calls"], "reasoning_tokens": used["reasoning_tokens"]}
            | {"output_tokens": used["output_tokens"], "reasoning_cost_usd": money(thinking)},
        )
    elif mean >= 1500 and output_cost >= used["cost_usd"] * Decimal("0.8"):
        tenth = _month(output_cost / 10, days)
        if tenth >= LEAST_SAVING:
            yield Recommendation(
                "long_outputs",
                f"{card.display_name} writes you long answers",
                f"{mean:,.0f} tokens on average make up {output_cost / used['cost_usd']:.0%} of its cost. Answers that are a tenth"
                f" shorter save about ${tenth:,.2f} a month.",
                {"model": card.slug, "calls": used["calls"], "mean_output_tokens": round(mean), "output_cost_usd": money(output_cost)}
                | {"per_tenth_shorter_usd": money(tenth)},
            )


def _caching(card: ModelCard, user_calls: QuerySet[UsageLog], days: Decimal) -> Iterator[Recommendation]:
    """Recommend prompt caching: a call soon after another one of its conversation repeats that call's input."""
    rates = card.rates
    if rates is None or rates.cached_input is None or rates.cached_input >= rates.input or rates.tier_threshold is not None:
        return
    thread = Coalesce("conversation_id", "group_id")
    rows = user_calls.filter(model=card.slug, status=UsageLog.Status.OK)
    before: dict[str, Any] = {"partition_by": [thread], "order_by": ["created_at", "pk"]}
    rows = rows.annotate(earlier=Window(Lag("input_tokens"), **before), earlier_at=Window(Lag("created_at"), **before))
    repeated = uncached = calls = 0
    columns = ("input_tokens", "cached_input_tokens", "created_at", "earlier", "earlier_at")
    for tokens, cached, at, earlier, earlier_at in rows.order_by("-created_at").values_list(*columns)[:MOST_ROWS]:
        if earlier is None or (same := min(earlier, tokens)) < CACHE_LEAST_TOKENS or at - earlier_at > CACHE_LIFE:
            continue
        calls += 1
        repeated += same
        uncached += max(0, same - cached)
    if calls < FEWEST_OF_MODEL or not uncached:
        return
    # A cache must be written before it is read, and some vendors charge for writing: once for each token that is read.
    written = (rates.cache_write - rates.input) if rates.cache_write is not None else Decimal(0)
    saving = _month((rates.input - rates.cached_input - max(Decimal(0), written)) * uncached / 1_000_000, days)
    if saving < LEAST_SAVING:
        return
    yield Recommendation(
        "prompt_caching",
        f"Let {card.display_name} cache your prompts",
        f"{calls:,} calls followed another one of the same conversation within {CACHE_LIFE.seconds // 60} minutes and sent its text again:"
        f" {repeated:,} tokens, of which {uncached:,} were paid in full. Keep the beginning of your prompts unchanged, and mark it for"
        " caching where the vendor requires that.",
        {"model": card.slug, "calls": calls, "repeated_tokens": repeated, "paid_in_full_tokens": uncached}
        | {"input_rate_usd": money(rates.input), "cached_rate_usd": money(rates.cached_input)},
        saving,
    )


def _keys(user_calls: QuerySet[UsageLog]) -> Iterator[Recommendation]:
    """Recommend a budget for keys that spend and have no limit."""
    spent = user_calls.exclude(api_key_id=None).values("api_key_id").annotate(calls=Count("pk"), cost=ExactSum("cost_usd"))
    found = {row["api_key_id"]: row for row in spent if row["calls"] >= FEWEST_OF_MODEL}
    limited = set(
        Budget.objects.filter(scope=Budget.Scope.KEY, scope_id__in=found).exclude(limit_usd=None).values_list("scope_id", flat=True)
    )
    alive = subjects.active(Budget.Scope.KEY, pk__in=found.keys() - limited).values_list("pk", flat=True)
    for key_id, subject in sorted(subjects.named(Budget.Scope.KEY, alive).items()):
        row = found[key_id]
        yield Recommendation(
            "key_without_budget",
            f"Give the key {subject.name} a budget",
            f"It spent ${row['cost']:,.2f} in {DAYS} days. If it leaks, only your own budget limits the cost.",
            {"key_id": str(key_id), "calls": row["calls"], "cost_usd": money(row["cost"])},
        )


def _month(amount: Decimal, days: Decimal) -> Decimal:
    return (amount * DAYS / max(days, Decimal(FEWEST_DAYS))).quantize(_CENT_PARTS)
