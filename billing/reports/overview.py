"""The overview for staff: usage and cost, the top users and models, and the budgets near their limits."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count
from django.utils import timezone

from accounts.models import User
from aiagents.core.jsonio import money
from billing.budgets import budgets, near_limit
from billing.models import Budget, Hold, UsageRollup
from billing.money.exact_sums import exact_sum
from billing.reports import figures, reading, rollups, shapes
from billing.reports.figures import add_up, share, shown, time
from billing.reports.forecast import MOST_DAYS, Forecast, forecast
from billing.reports.rollups import DAY

Slice = UsageRollup.Slice
TOP = 5


def overview(now: datetime | None = None) -> shapes.Overview:
    """Return today, the month, the last 60 days, the top users and models, and budgets near their limits."""
    now = now or timezone.now()
    today = rollups.floor_day(now)
    end, month = today + DAY, today.replace(day=1)
    days = reading.read(today - 59 * DAY, end, Slice.MODEL, bucket="day")
    last = [(start, days.get((start,)) or figures.no_usage()) for start in reading.starts(today - 29 * DAY, end, "day")]

    def between(first: datetime, until: datetime) -> dict[str, Any]:
        return add_up(total for (at,), total in days.items() if first <= at < until)

    recent, before = between(today - 29 * DAY, end), between(today - 59 * DAY, today - 29 * DAY)
    people = reading.read(today - 29 * DAY, end, Slice.USER, ("user_id",), names=(*figures.LINE, "last_at"))
    models = reading.read(today - 29 * DAY, end, Slice.MODEL, ("model",))
    return {
        "at": time(now),
        "today": shown(between(today, end), shapes.Totals),
        "yesterday": shown(between(today - DAY, today), shapes.Totals),
        "month": {**shown(between(month, end), shapes.Totals), "from": time(month)},
        "last_30_days": {**shown(recent, shapes.Totals), "failed_share": share(recent["failed_calls"], recent["calls"])},
        "previous_30_days": shown(before, shapes.Totals),
        "change": {
            "calls": _change(recent["calls"], before["calls"]),
            "cost_usd": _change(recent["cost_usd"], before["cost_usd"]),
            "input_tokens": _change(recent["input_tokens"], before["input_tokens"]),
            "output_tokens": _change(recent["output_tokens"], before["output_tokens"]),
        },
        "days": [{"at": time(start), **shown(total, shapes.Totals)} for start, total in last],
        "top_models": figures.labelled("model", figures.by_cost(models)[:TOP], shapes.GroupTotals),
        "top_users": figures.labelled("user", figures.by_cost(people)[:TOP], shapes.Line),
        "users": _users(now, people),
        "running": _running(),
        "system_budget": _system_budget(now),
        "budgets_near_limit": near_limit.shown(TOP),
        "rolled_until": _rolled(),
    }


def _change(now: Any, before: Any) -> float | None:
    """Return the relative change (0.25: a quarter more); None when the earlier value is zero."""
    return round(float(now) / float(before) - 1, 4) if before else None


def _users(now: datetime, people: dict[tuple[Any, ...], dict[str, Any]]) -> shapes.People:
    def active(days: int) -> int:
        return sum(total["last_at"] is not None and total["last_at"] > now - days * DAY for total in people.values())

    month_ago = now - 30 * DAY
    return {
        "total": User.objects.filter(is_active=True).count(),
        "new_30_days": User.objects.filter(created_at__gte=month_ago).count(),
        "active_24_hours": active(1),
        "active_7_days": active(7),
        "active_30_days": active(30),
    }


def _running() -> shapes.Running:
    held = Hold.objects.filter(status=Hold.Status.OPEN).aggregate(calls=Count("pk"), held=exact_sum("amount_usd"))
    return {"calls": held["calls"], "held_usd": money(held["held"])}


def _system_budget(now: datetime) -> shapes.SystemBudget:
    """Return the month of all users, with the forecast to its end (None: too little history)."""
    month = budgets.month_of_scope(Budget.Scope.SYSTEM, None)
    today = rollups.floor_day(now)
    days = reading.read(today - MOST_DAYS * DAY, today, Slice.MODEL, names=("cost_usd",), bucket="day")
    first = min((at for (at,) in days), default=today)
    daily = [days.get((at,), {}).get("cost_usd", Decimal(0)) for at in reading.starts(first, today, "day")]
    ahead = forecast(daily, month.spent_usd, now, month.ends_at, month.limit_usd)
    return {
        "spent_usd": money(month.spent_usd),
        "held_usd": money(month.held_usd),
        "limit_usd": None if month.limit_usd is None else money(month.limit_usd),
        "left_usd": None if month.left_usd is None else money(month.left_usd),
        "used_share": share(month.spent_usd, month.limit_usd),
        "starts_at": time(month.starts_at),
        "ends_at": time(month.ends_at),
        "forecast": None if ahead is None else _ahead(ahead),
    }


def _ahead(ahead: Forecast) -> shapes.Ahead:
    return {
        "expected_usd": money(ahead.expected_usd),
        "low_usd": money(ahead.low_usd),
        "high_usd": money(ahead.high_usd),
        "per_day_usd": money(ahead.per_day_usd),
        "days_observed": ahead.days_observed,
        "exhausted_at": time(ahead.exhausted_at) if ahead.exhausted_at else None,
    }


def _rolled() -> str | None:
    until = rollups.state_now().rolled_until
    return time(until) if until else None
