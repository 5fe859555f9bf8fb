"""Hold, settle, sweep: the only code that changes balances.

`hold` reserves a call's amount in every budget that applies, or in none, before the request to the vendor. `settle`
moves the cost from held to spent and writes the one UsageLog row. Each is a single statement on PostgreSQL and a single
transaction on SQLite. Each may be repeated: only the first one takes effect.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection

from aiagents.core.db.calls import in_db, on_postgres
from aiagents.core.errors import BudgetExceeded, Conflict, NotAuthenticated, Unavailable
from aiagents.core.jsonio import money
from aiagents.core.live import outage_heartbeat
from aiagents.core.metrics.counters import HOLDS, SWEPT
from billing import pricing
from billing.budgets import budgets
from billing.catalogue import snapshot as catalogue
from billing.catalogue import unpriced_usage
from billing.ledger import postgres, sqlite
from billing.ledger.admission import Admission, Range, Refusal
from billing.ledger.charging import Call, Charge, Held, Outcome, charge, log_row, rounded_up
from billing.models import Budget, Hold, UsageLog
from billing.pricing import Rates

__all__ = ["Call", "Charge", "Held", "Outcome", "charge", "hold", "progress", "reattempt", "settle", "sweep"]

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)
# The most holds that one sweep closes; the next sweep runs seconds later.
_SWEEP_MOST = 1000
# The name of the heartbeats of running calls that a process sends over Valkey while the database is unreachable
# (aiagents/core/live/outage_heartbeat.py).
ALIVE = "calls"


async def hold(
    call: Call, amount: Decimal, rates: Rates, input_tokens: int, *, usual: Decimal | None = None, least: Decimal | None = None
) -> Held:
    """Reserve `amount` (USD) in every budget of the call, or less, as `admission.Range` says, but never less than `least`.

    Without `usual` and `least` it reserves all of it. Returns what was held. Raises BudgetExceeded when the least does not
    fit into a budget, and then holds nothing. Raises NotAuthenticated for a disabled user or an ended key, which the same
    statement checks.
    """
    usual = amount if usual is None else min(usual, amount)
    least = usual if least is None else min(least, usual)
    amounts = Range(rounded_up(amount), rounded_up(usual), rounded_up(least))
    return await _in_db(_hold, call, amounts, rates, input_tokens)


async def settle(held: Held, outcome: Outcome) -> Charge:
    """Charge an ended call, release its hold and return the charge.

    A second settlement returns the first one's charge.
    """
    charged = charge(held, outcome)
    row = log_row(held, outcome, charged, await _baseline(held.call.model))
    async with postgres.group_commit() as waits:
        first = await _in_db(settle_held, held, row, charged, waits)
    await _record_unpriced(held, charged, outcome)
    return first


async def reattempt(held: Held, outcome: Outcome, call: Call, rates: Rates) -> Held:
    """Charge the failed attempt and transfer its hold to the next one, in one step; return the new hold.

    Raises BudgetExceeded when the failed attempt cost something and that cost no longer fits into a budget.
    """
    charged = charge(held, outcome)
    row = log_row(held, outcome, charged, await _baseline(held.call.model))
    following = Held(call, held.amount, rates, held.input_tokens, ())
    following = await _in_db(_reattempt, held, row, charged, following)
    await _record_unpriced(held, charged, outcome)
    return following


async def _record_unpriced(held: Held, charged: Charge, outcome: Outcome) -> None:
    if not charged.unpriced:
        return
    call = held.call
    try:
        await _in_db(unpriced_usage.record, call.provider, call.model, call.call_id, charged.unpriced, outcome.unknown_fields)
    except Unavailable:  # the call is charged already
        logger.exception("unpriced_usage_not_recorded", extra={"call_id": str(call.call_id)})


async def progress(seen: Mapping[UUID, int]) -> None:
    """Write the heartbeat of running calls, with the output tokens that each has produced so far."""
    if seen:
        await _in_db(store_for_database().progress, seen)


def sweep() -> int:
    """Close every hold whose heartbeat is too old and charge it by estimate; return how many were closed."""
    silent_since = budgets.database_now() - timedelta(seconds=settings.HOLD_SILENCE_SECONDS)
    found = list(Hold.objects.filter(status=Hold.Status.OPEN, heartbeat_at__lt=silent_since).order_by("heartbeat_at")[:_SWEEP_MOST])
    alive = outage_heartbeat.among(ALIVE, (row.pk for row in found))  # their processes run, but cannot reach the database
    known = catalogue.current_sync()
    swept = 0
    for row in found:
        if row.pk in alive:
            continue
        try:
            held = held_of(row)
        except (KeyError, TypeError, ValueError, ArithmeticError):
            logger.exception("hold_unreadable", extra={"call_id": str(row.pk)})
            continue
        silence = round((row.heartbeat_at - row.created_at).total_seconds() * 1000)
        outcome = Outcome(
            status="interrupted", usage=None, output_tokens_seen=row.output_tokens_seen,
            finish_reason="error", error_code="interrupted", latency_ms=silence, request_sent=True if row.output_tokens_seen else None,
        )  # fmt: skip
        charged = charge(held, outcome)
        swept += store_for_database().settle(
            row.pk, log_row(held, outcome, charged, catalogue.baseline(known, held.call.model)), Hold.Status.SWEPT, row.heartbeat_at
        )
    if swept:
        SWEPT.inc(swept)
        logger.warning("holds_swept", extra={"count": swept})
    return swept


def held_of(row: Hold) -> Held:
    """Return the value that `hold` returned when it created this row."""
    facts = dict(row.call)
    rates = Rates.from_json(facts.pop("rates"))
    return Held(Call.from_json(facts), row.amount_usd, rates, row.input_tokens_estimate, tuple(row.windows))


def _hold(call: Call, amounts: Range, rates: Rates, input_tokens: int) -> Held:
    wanted = Held(call, amounts.most, rates, input_tokens, ())
    for _ in range(3):
        try:
            admission = store_for_database().hold(wanted, amounts)
        except IntegrityError:  # held already: the response to the first try was lost
            return replace(_open_hold(call.call_id), rates=rates)
        if admission.caller_ok and not admission.complete:
            budgets.ensure(call)  # this is the first call of a user or of a month
            continue
        return _admitted(wanted, admission, amounts.least)
    raise Unavailable("The budgets of this call could not be opened; try again shortly.")


def settle_held(held: Held, row: dict[str, Any], charged: Charge, waits: bool = True) -> Charge:
    call_id = held.call.call_id
    if store_for_database().settle(call_id, row, Hold.Status.SETTLED, None, waits):
        return charged
    if (first := first_charge(call_id)) is not None:
        return first
    # The hold does not exist (after a restored backup): charge the usage in the current month.
    logger.error("settled_without_hold", extra={"call_id": str(call_id)})
    budgets.ensure(held.call)
    row["flagged"] = ",".join(filter(None, [charged.flagged, "hold_lost"]))
    try:
        sqlite.charge_without_hold(held.call, row)
    except IntegrityError:
        return first_charge(call_id) or charged
    return charged


def _reattempt(held: Held, row: dict[str, Any], charged: Charge, following: Held) -> Held:
    admission = store_for_database().reattempt(held.call.call_id, row, following)
    if admission.complete:
        return _admitted(following, admission, following.amount)
    # The failed attempt is closed already: by this step, whose response was lost, or by the sweeper.
    if Hold.objects.filter(pk=following.call.call_id).exists():
        return _open_hold(following.call.call_id)
    amounts = Range(following.amount, following.amount, following.amount)
    return _hold(following.call, amounts, following.rates, following.input_tokens)


def _admitted(wanted: Held, admission: Admission, least: Decimal) -> Held:
    if not admission.caller_ok:
        raise NotAuthenticated("This account or API key is no longer valid.")
    if admission.refusals:
        raise _exceeded(least, admission.refusals)
    HOLDS.inc()
    return replace(wanted, amount=admission.amount, windows=admission.windows)


def _exceeded(amount: Decimal, refusals: tuple[Refusal, ...]) -> BudgetExceeded:
    tightest = min(refusals, key=lambda one: one.left)
    left = max(Decimal(0), tightest.left)
    details = {"budget": tightest.scope, "asked_usd": money(amount), "left_usd": money(left)}
    if tightest.scope != Budget.Scope.SYSTEM:  # a user may not see the spending of all users
        details |= {"limit_usd": money(tightest.limit), "spent_usd": money(tightest.spent), "held_usd": money(tightest.held)}
    return BudgetExceeded(
        f"This request may cost ${amount:.4f}; the {tightest.scope} budget has ${left:.4f} left this month.", details=details
    )


def _open_hold(call_id: UUID) -> Held:
    row = Hold.objects.get(pk=call_id)
    if row.status != Hold.Status.OPEN:
        raise Conflict("This call has already ended.")
    return held_of(row)


def first_charge(call_id: UUID) -> Charge | None:
    row = UsageLog.objects.filter(call_id=call_id).first()
    if row is None:
        return None
    return Charge(pricing.usage_of_row(row), row.cost_usd, row.estimated, row.flagged, row.overrun_usd, pricing.Rates.from_json(row.price))


def store_for_database() -> Any:
    return postgres if on_postgres() else sqlite


async def _baseline(model: str) -> Rates | None:
    return catalogue.baseline(await catalogue.current(), model)


async def _in_db(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await in_db(partial(retry_once, function, *args, **kwargs))


def retry_once(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the function's result; call it again on a new connection if this thread's connection was closed."""
    began = time.monotonic()
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block or time.monotonic() - began > 1:
            raise  # the server is unreachable, not only this connection: the caller decides how long to wait
        connection.close()
        return function(*args, **kwargs)
