"""Writes demo usage as the ledger would: rows, closed holds, and the sums of the budgets' windows, in one transaction."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from billing.budgets import budgets
from billing.demo.rows import AT, COLUMNS, REQUEST_ID, Row, usd
from billing.models import Budget, BudgetWindow, Hold, UsageLog


@transaction.atomic
def write(rows: list[Row], start: datetime, now: datetime) -> Decimal:
    """Write the rows, their holds and the budgets' windows in one transaction; return the cost (USD)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # A budget that is created meanwhile either waits for these rows or is counted below.
            cursor.execute("LOCK TABLE billing_budgetwindow IN ROW EXCLUSIVE MODE")
    spent = _months(rows, start, now)
    _insert(rows)
    kept = now - timedelta(seconds=settings.HOLD_KEEP_SECONDS + 600)
    Hold.objects.bulk_create([_hold(row) for row in rows if row[AT["created_at"]] > kept], batch_size=2_000)
    windows = BudgetWindow.objects.filter(pk__in=spent).select_related("budget")
    # In the ledger's locking order, which prevents deadlocks.
    for window in sorted(windows, key=lambda one: (budgets.RANKS[Budget.Scope(one.budget.scope)], one.pk)):
        if connection.vendor == "postgresql":
            BudgetWindow.objects.filter(pk=window.pk).update(spent_usd=F("spent_usd") + spent[window.pk])
        else:  # SQLite stores money as text, and has one writer at a time
            BudgetWindow.objects.filter(pk=window.pk).update(spent_usd=window.spent_usd + spent[window.pk])
    return sum((row[AT["cost_usd"]] for row in rows), Decimal(0))


def _months(rows: list[Row], start: datetime, now: datetime) -> dict[int, Decimal]:
    """Return the rows' cost by window; create missing windows."""
    columns = {str(scope): AT[column] for scope, column in budgets.COLUMNS.items()}
    ids = {row[index] for row in rows for index in columns.values()} - {None}
    if not Budget.objects.filter(scope=Budget.Scope.SYSTEM).exists():
        budgets.create(Budget.Scope.SYSTEM, None, settings.MONTHLY_COST_LIMIT)
    found = Budget.objects.filter(scope_id__in=ids) | Budget.objects.filter(scope=Budget.Scope.SYSTEM)
    months = _windows(found, start, now)
    sums: dict[int, int] = defaultdict(int)
    by_id = {(budget.scope, budget.scope_id): months[budget.pk] for budget in found}
    system = by_id[Budget.Scope.SYSTEM, None]
    for row in rows:
        amount, at = int(row[AT["cost_usd"]].scaleb(12)), row[AT["created_at"]]
        for mine in [system, *[by_id.get((scope, row[index])) for scope, index in columns.items() if row[index] is not None]]:
            if mine is not None and (place := bisect_right(mine[0], at) - 1) >= 0 and at < mine[1][place]:
                sums[mine[2][place]] += amount
    return {window: usd(amount) for window, amount in sums.items() if amount}


def _windows(found: Iterable[Budget], start: datetime, now: datetime) -> dict[Any, tuple[list[datetime], list[datetime], list[int]]]:
    """Return each budget's windows from `start` to `now`: their starts, ends and ids."""
    rows = list(found)
    known: dict[Any, list[BudgetWindow]] = defaultdict(list)
    for window in BudgetWindow.objects.filter(budget__in=rows):
        known[window.budget_id].append(window)
    missing = []
    for budget in rows:
        at = start
        while at <= now:
            starts_at, ends_at = budgets.month(budget.time_zone, at)
            if not any(window.starts_at < ends_at and starts_at < window.ends_at for window in known[budget.pk]):
                missing.append(BudgetWindow(budget=budget, starts_at=starts_at, ends_at=ends_at))
            at = ends_at
    BudgetWindow.objects.bulk_create(missing, ignore_conflicts=True)
    months: dict[Any, tuple[list[datetime], list[datetime], list[int]]] = {budget.pk: ([], [], []) for budget in rows}
    for window in BudgetWindow.objects.filter(budget__in=rows).order_by("starts_at"):
        starts, ends, ids = months[window.budget_id]
        starts.append(window.starts_at)
        ends.append(window.ends_at)
        ids.append(window.pk)
    return months


def _insert(rows: list[Row]) -> None:
    if connection.vendor != "postgresql":
        price = AT["price"]
        prices: dict[str, Any] = {}
        for row in rows:
            prices.setdefault(row[price], json.loads(row[price]))
        made = [UsageLog(**(dict(zip(COLUMNS, row, strict=True)) | {"price": prices[row[price]]})) for row in rows]
        UsageLog.objects.bulk_create(made, batch_size=500)
        return
    with connection.cursor() as cursor, cursor.copy(f"COPY billing_usagelog ({', '.join(COLUMNS)}) FROM STDIN") as copy:
        for row in rows:
            copy.write("\t".join("\\N" if value is None else str(value) for value in row) + "\n")


def _hold(row: Row) -> Hold:
    at = row[AT["created_at"]]
    ended = at + timedelta(milliseconds=row[AT["latency_ms"]])
    return Hold(
        id=row[AT["call_id"]], status=Hold.Status.SETTLED, amount_usd=row[AT["cost_usd"]], call={"request_id": REQUEST_ID}, created_at=at,
        heartbeat_at=ended, closed_at=ended,
    )  # fmt: skip
