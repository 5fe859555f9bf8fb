"""The sums over usage: one definition for the usage log and one for the rollups, with the same names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db.models import Case, Count, F, Max, Q, Sum, When

from billing.models import UsageLog
from billing.money.exact_sums import ExactSum, exact_sum
from billing.reports import timing

TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
MONEY = ("cost_usd", "failed_cost_usd", "baseline_cost_usd", "compared_cost_usd", "overrun_usd", "cache_saved_usd")
COUNTS = ("calls", "failed_calls", "estimated_calls")
TIMES = ("latency_ms", "timed_calls", "ttft_ms", "writing_ms", "written_tokens")
LARGEST = ("max_input_tokens", "max_output_tokens", "last_at")
BUCKETS = ("latencies", "first_tokens")
# The sums that a list of groups shows.
USUAL = ("calls", "failed_calls", *TOKENS, "cost_usd", "baseline_cost_usd", "compared_cost_usd", "cache_saved_usd")
ALL = (*COUNTS, *TOKENS, *MONEY, *TIMES, *LARGEST)
# A prefix for the sums in queries, because most have the name of the column that they sum up.
PREFIX = "sum_"

_OK = Q(status=UsageLog.Status.OK)
_TIMED = _OK & Q(ttft_ms__isnull=False, latency_ms__gte=F("ttft_ms"))
_OF_LOG: dict[str, Any] = {
    "calls": Count("pk"),
    "failed_calls": Count("pk", filter=~_OK),
    "estimated_calls": Count("pk", filter=Q(estimated=True)),
    **{name: Sum(name, default=0) for name in TOKENS},
    "cost_usd": exact_sum("cost_usd"),
    "failed_cost_usd": ExactSum(Case(When(~_OK, then=F("cost_usd")))),
    "baseline_cost_usd": exact_sum("baseline_cost_usd"),
    "compared_cost_usd": ExactSum(Case(When(baseline_cost_usd__isnull=False, then=F("cost_usd")))),
    "overrun_usd": exact_sum("overrun_usd"),
    "cache_saved_usd": exact_sum("cache_saved_usd"),
    "latency_ms": Sum("latency_ms", filter=_OK, default=0),
    "timed_calls": Count("pk", filter=_TIMED),
    "ttft_ms": Sum("ttft_ms", filter=_TIMED, default=0),
    "writing_ms": Sum(F("latency_ms") - F("ttft_ms"), filter=_TIMED, default=0),
    "written_tokens": Sum("output_tokens", filter=_TIMED, default=0),
    "max_input_tokens": Max("input_tokens", default=0),
    "max_output_tokens": Max("output_tokens", default=0),
    "last_at": Max("created_at"),
    "latencies": timing.buckets("latency_ms", _OK),
    "first_tokens": timing.buckets("ttft_ms", _OK),
}


def over_log(names: Iterable[str]) -> dict[str, Any]:
    """Return the sums as annotations over UsageLog rows."""
    return {PREFIX + name: _OF_LOG[name] for name in names}


def over_rollups(names: Iterable[str]) -> dict[str, Any]:
    """Return the sums as annotations over UsageRollup rows (except BUCKETS, which are lists)."""
    return {PREFIX + name: exact_sum(name) if name in MONEY else Max(name) if name in LARGEST else Sum(name) for name in names}


def zero(names: Iterable[str]) -> dict[str, Any]:
    return {name: Decimal(0) if name in MONEY else None if name == "last_at" else [] if name in BUCKETS else 0 for name in names}


def add(total: dict[str, Any], row: Mapping[str, Any], names: Iterable[str]) -> None:
    """Add a row's sums to a total that `zero` returned."""
    for name in names:
        value = row[PREFIX + name]
        if value is None:
            continue
        if name in BUCKETS:
            total[name] = timing.added([total[name], value])
        elif name in LARGEST:
            total[name] = value if total[name] is None else max(total[name], value)
        else:
            total[name] += value
