"""The ledger's steps as short transactions over the ORM, for SQLite, which locks the whole file for each writer.

Python adds the amounts, because SQLite cannot add decimals exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey, User
from billing.budgets import budgets
from billing.ledger.admission import Admission, Range, Refusal
from billing.ledger.charging import PICO, Call, Held
from billing.models import Budget, BudgetWindow, Hold, UsageLog


@transaction.atomic
def hold(wanted: Held, amounts: Range) -> Admission:
    """Hold one amount out of the range in every budget of the call, or nothing in any."""
    if not _caller_ok(wanted.call):
        return Admission(caller_ok=False, complete=False)
    now = timezone.now()
    found = list(Budget.objects.filter(budgets.of_call(wanted.call)))
    windows = _locked(BudgetWindow.objects.filter(budget__in=found, starts_at__lte=now, ends_at__gt=now))
    scopes = {window.budget.scope for window in windows}
    if len(windows) != len(found) or not {Budget.Scope.SYSTEM, Budget.Scope.USER} <= scopes:
        return Admission(caller_ok=True, complete=False)
    if refusals := _refusals(windows, amounts.least):
        return Admission(caller_ok=True, complete=True, refusals=refusals)
    limited = [(window, limit) for window in windows if (limit := window.budget.limit_usd) is not None]
    parts = [amounts.within(limit - window.spent_usd - window.held_usd, window.held_usd) for window, limit in limited]
    amount = min([amounts.most, *parts]).quantize(PICO, ROUND_FLOOR)
    _move(windows, held=amount)
    ids = [window.pk for window in windows]
    _open(replace(wanted, amount=amount), ids, now)
    return Admission(caller_ok=True, complete=True, windows=tuple(ids), amount=amount)


@transaction.atomic
def settle(call_id: UUID, row: dict[str, Any], status: str, silent_since: datetime | None, waits: bool = True) -> bool:
    """Close the hold and write its usage log row.

    Returns False when the hold is not open, or when its heartbeat is no longer `silent_since` (which the sweeper
    gives). SQLite always waits for the disk, whatever `waits` is.
    """
    unchanged = {} if silent_since is None else {"heartbeat_at": silent_since}
    old = Hold.objects.select_for_update().filter(pk=call_id, status=Hold.Status.OPEN, **unchanged).first()
    if old is None:
        return False
    _close(old, status)
    _move(_locked(BudgetWindow.objects.filter(pk__in=old.windows)), held=-old.amount_usd, spent=row["cost_usd"])
    _write(row, old.created_at)
    return True


@transaction.atomic
def reattempt(call_id: UUID, row: dict[str, Any], following: Held) -> Admission:
    """Close the failed attempt's hold, write its log row, and open the next hold for the same amount."""
    old = Hold.objects.select_for_update().filter(pk=call_id, status=Hold.Status.OPEN).first()
    if old is None:
        return Admission(caller_ok=True, complete=False)
    if not _caller_ok(following.call):
        return Admission(caller_ok=False, complete=True)
    cost = row["cost_usd"]
    if cost:
        windows = _locked(BudgetWindow.objects.filter(pk__in=old.windows))
        if refusals := _refusals(windows, cost):
            return Admission(caller_ok=True, complete=True, refusals=refusals)
        _move(windows, spent=cost)
    _close(old, Hold.Status.SETTLED)
    _write(row, old.created_at)
    _open(following, old.windows, old.created_at)
    return Admission(caller_ok=True, complete=True, windows=tuple(old.windows), amount=old.amount_usd)


@transaction.atomic
def progress(seen: Mapping[UUID, int]) -> None:
    """Record the output tokens and the heartbeat of open holds; a count never decreases."""
    now = timezone.now()
    rows = list(Hold.objects.filter(pk__in=seen, status=Hold.Status.OPEN))
    for row in rows:
        row.output_tokens_seen, row.heartbeat_at = max(row.output_tokens_seen, seen[row.pk]), now
    Hold.objects.bulk_update(rows, ["output_tokens_seen", "heartbeat_at"])


@transaction.atomic
def charge_without_hold(call: Call, row: dict[str, Any]) -> None:
    """Write the log row of a call whose hold is lost, and count it in the current month."""
    now = budgets.database_now()
    found = Budget.objects.filter(budgets.of_call(call))
    _write(row, now)
    _move(_locked(BudgetWindow.objects.filter(budget__in=found, starts_at__lte=now, ends_at__gt=now)), spent=row["cost_usd"])


def _caller_ok(call: Call) -> bool:
    if not User.objects.filter(pk=call.user_id, is_active=True, auth_epoch=call.auth_epoch).exists():
        return False
    if call.api_key_id is None:
        return True
    key = ApiKey.objects.filter(pk=call.api_key_id, user_id=call.user_id, revoked_at=None).first()
    return key is not None and (key.expires_at is None or key.expires_at > timezone.now())


def _locked(windows: Any) -> list[BudgetWindow]:
    """Return the windows, locked one after the other in the order that every writer uses."""
    ranked = sorted(windows.select_related("budget"), key=lambda window: budgets.RANKS[Budget.Scope(window.budget.scope)])
    for window in ranked:
        fresh = BudgetWindow.objects.select_for_update().get(pk=window.pk)
        window.spent_usd, window.held_usd = fresh.spent_usd, fresh.held_usd
    return ranked


def _refusals(windows: list[BudgetWindow], amount: Decimal) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(window.budget.scope, limit, window.spent_usd, window.held_usd)
        for window in windows
        if (limit := window.budget.limit_usd) is not None and window.spent_usd + window.held_usd + amount > limit
    )


def _move(windows: list[BudgetWindow], *, held: Decimal = Decimal(0), spent: Decimal = Decimal(0)) -> None:
    for window in windows:
        window.held_usd += held
        window.spent_usd += spent
        window.save(update_fields=["held_usd", "spent_usd"])


def _open(wanted: Held, windows: list[int], at: datetime) -> None:
    Hold.objects.create(
        pk=wanted.call.call_id, amount_usd=wanted.amount, windows=windows, call=wanted.facts(),
        input_tokens_estimate=wanted.input_tokens, created_at=at,
    )  # fmt: skip


def _close(old: Hold, status: str) -> None:
    Hold.objects.filter(pk=old.pk).update(status=status, closed_at=timezone.now())


def _write(row: dict[str, Any], at: datetime) -> None:
    UsageLog.objects.create(**row, created_at=at)
