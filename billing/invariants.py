"""Invariants that are checked against the database. `aiagents/wiring.py` registers the checks of every app.

I2  each vendor call has one hold, one end and one UsageLog row
I3  enforced = reported = the sum of the usage log, to the last digit
I4  at each admission spent + held fits the limit; only overruns of admitted calls may exceed it
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from billing import pricing
from billing.budgets import budgets
from billing.models import Budget, BudgetWindow, Hold, UsageLog
from billing.money.exact_sums import exact_sum
from billing.pricing import Rates
from billing.reports import rollups

# A hold whose heartbeat is this many times older than the sweeper allows shows that the sweeper does not run.
_SWEEPER_INTERVALS = 3
_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation of an invariant."""

    rule: str
    what: str


Check = Callable[[], Iterable[Violation]]
registered_checks: dict[str, Check] = {}


def register(name: str, check: Check) -> None:
    """Add a check under a name; registering the name again replaces it."""
    registered_checks[name] = check


def violations() -> list[Violation]:
    """Return all violations; each check reads one snapshot of the database."""
    found: list[Violation] = []
    for check in registered_checks.values():
        with transaction.atomic():
            _one_snapshot()
            found += check()
    return found


def one_end_per_call() -> Iterator[Violation]:
    """I2, for every hold and every recent usage log row."""
    logged = Exists(UsageLog.objects.filter(call_id=OuterRef("pk")))
    for pk in Hold.objects.exclude(status=Hold.Status.OPEN).filter(~logged).values_list("pk", flat=True):
        yield Violation("I2", f"call {pk} is closed and has no usage log row")
    for pk in Hold.objects.filter(logged, status=Hold.Status.OPEN).values_list("pk", flat=True):
        yield Violation("I2", f"call {pk} has a usage log row and still holds money")
    kept = budgets.database_now() - timedelta(seconds=settings.HOLD_KEEP_SECONDS)
    held = Exists(Hold.objects.filter(pk=OuterRef("call_id")))
    for pk in UsageLog.objects.filter(~held, created_at__gt=kept).exclude(flagged__contains="hold_lost").values_list("call_id", flat=True):
        yield Violation("I2", f"call {pk} was charged and never held")
    silent = budgets.database_now() - timedelta(seconds=_SWEEPER_INTERVALS * settings.HOLD_SILENCE_SECONDS)
    for pk in Hold.objects.filter(status=Hold.Status.OPEN, heartbeat_at__lt=silent).values_list("pk", flat=True):
        yield Violation("I2", f"call {pk} has an old heartbeat and was not swept")


def balances_are_sums() -> Iterator[Violation]:
    """I3, for every window of every budget."""
    held: dict[int, Decimal] = defaultdict(Decimal)
    for amount, windows in Hold.objects.filter(status=Hold.Status.OPEN).values_list("amount_usd", "windows"):
        for pk in windows:
            held[pk] += amount
    sums: dict[tuple[Any, ...], dict[str, Decimal]] = {}
    for window in BudgetWindow.objects.select_related("budget").order_by("starts_at"):
        budget = window.budget
        key = (budget.scope, window.starts_at, window.ends_at)
        if key not in sums:
            sums[key] = _spent(*key)
        spent = sums[key].get(str(budget.scope_id), Decimal(0))
        if window.spent_usd != spent:
            yield Violation("I3", f"{budget} {window.starts_at:%Y-%m}: spent {window.spent_usd}, the usage log has {spent}")
        if window.held_usd != held[window.pk]:
            yield Violation("I3", f"{budget} {window.starts_at:%Y-%m}: held {window.held_usd}, the open holds have {held[window.pk]}")


def costs_match_tokens() -> Iterator[Violation]:
    """I3, for every recent row: tokens times the stored price is the stored cost."""
    for row in UsageLog.objects.filter(estimated=False).order_by("-created_at")[:_ROWS].iterator():
        usage = pricing.usage_of_row(row)
        if (cost := pricing.cost(Rates.from_json(row.price), usage)) != row.cost_usd:
            yield Violation("I3", f"call {row.call_id} was charged {row.cost_usd}, its tokens cost {cost}")


def limits_hold() -> Iterator[Violation]:
    """I4, for every window whose limit was not lowered during it."""
    for window in BudgetWindow.objects.select_related("budget"):
        budget, limit, taken = window.budget, window.budget.limit_usd, window.spent_usd + window.held_usd
        if limit is None or taken <= limit or (budget.lowered_at and budget.lowered_at >= window.starts_at):
            continue
        during = {"created_at__gte": window.starts_at, "created_at__lt": window.ends_at}
        overrun = budgets.usage_of(budget).filter(**during).aggregate(total=exact_sum("overrun_usd"))["total"]
        if taken - overrun > limit:
            yield Violation("I4", f"{budget} {window.starts_at:%Y-%m}: {taken} of {limit} taken, only {overrun} by overrun")


def rollups_are_sums() -> Iterator[Violation]:
    """I3: the rollups equal the sums of the usage log."""
    for one in rollups.differences():
        yield Violation("I3", f"rollup {one}")


def _spent(scope: str, starts_at: Any, ends_at: Any) -> dict[str, Decimal]:
    rows = UsageLog.objects.filter(created_at__gte=starts_at, created_at__lt=ends_at).order_by()
    if scope == Budget.Scope.SYSTEM:
        return {"None": rows.aggregate(total=exact_sum("cost_usd"))["total"]}
    column = budgets.COLUMNS[Budget.Scope(scope)]
    return {str(key): total for key, total in rows.values_list(column).annotate(total=exact_sum("cost_usd"))}


def _one_snapshot() -> None:
    """Make the transaction read one snapshot: a settlement between two reads of a check would look like an error.

    A test's outer transaction has begun already and cannot change its isolation level.
    """
    connection = transaction.get_connection()
    if connection.vendor == "postgresql" and not connection.savepoint_ids:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


# The checks of billing, by name.
CHECKS: dict[str, Check] = {
    check.__name__: check for check in (one_end_per_call, balances_are_sums, costs_match_tokens, limits_hold, rollups_are_sums)
}
