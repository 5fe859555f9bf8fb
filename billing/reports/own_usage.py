"""A user's usage, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import TruncDate, TruncHour

from billing.budgets import budgets
from billing.models import UsageLog
from billing.money.exact_sums import ExactSum, exact_sum
from billing.reports import figures
from billing.reports.forecast import MOST_DAYS, Forecast, forecast

if TYPE_CHECKING:
    from accounts.models import User

TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
# The values of `group_by`, and the column or expression of each.
GROUPS: dict[str, tuple[str, Any]] = {
    "hour": ("hour", TruncHour("created_at", tzinfo=UTC)),
    "day": ("day", TruncDate("created_at", tzinfo=UTC)),
    "model": ("model", None),
    "agent": ("agent_id", None),
    "key": ("api_key_id", None),
}
# The values of `bucket`, beside a `group_by` other than time.
BUCKETS = ("day", "hour")
# The columns of the CSV export.
COLUMNS = (
    "created_at", "call_id", "group_id", "status", "model", "provider", "requested_model", "goal", "purpose", "surface", "attempt",
    *TOKENS, "cost_usd", "baseline_cost_usd", "overrun_usd", "estimated", "flagged", "simulated", "finish_reason", "error_code",
    "latency_ms", "ttft_ms", "api_key_id", "agent_id", "task_id", "conversation_id", "message_id", "request_id", "vendor_asked",
)  # fmt: skip


def grouped(rows: QuerySet[UsageLog], by: str, bucket: str | None = None) -> list[dict[str, Any]]:
    """Return calls, tokens and cost per hour or day (UTC), model, agent or key.

    Hours and days come oldest first, the other groups by cost, highest first. With `bucket` each model, agent or key
    has a line for each hour or day in which it was used.
    """
    names = [by] if bucket is None else [by, bucket]
    keyed, columns = rows.order_by(), []
    for name in names:
        column, expression = GROUPS[name]
        columns.append(column)
        keyed = keyed.annotate(**{column: expression}) if expression is not None else keyed
    lines = [{column: row[column] for column in columns} | _sums(row) for row in keyed.values(*columns).annotate(**_summed())]
    if by in BUCKETS:
        return sorted(lines, key=lambda line: line[by])
    called = figures.labels(by, {line[columns[0]] for line in lines})
    lines = [{"label": called[line[columns[0]]]} | line for line in lines]
    dearest_first = sorted(lines, key=lambda line: line["cost_usd"], reverse=True)
    return dearest_first if bucket is None else sorted(dearest_first, key=lambda line: line[bucket])


def _summed() -> dict[str, Any]:
    compared = ExactSum(Case(When(baseline_cost_usd__isnull=False, then=F("cost_usd"))))
    return {
        "calls": Count("pk"),
        "failed_calls": Count("pk", filter=~Q(status=UsageLog.Status.OK)),
        **{f"sum_{token}": Sum(token, default=0) for token in TOKENS},
        "total": exact_sum("cost_usd"),
        "baseline": exact_sum("baseline_cost_usd"),
        "compared": compared,
        "by_cache": exact_sum("cache_saved_usd"),
    }


def _sums(row: dict[str, Any]) -> dict[str, Any]:
    """Return the sums. `saved_usd`: the baseline model's cost minus the actual cost, where both are known."""
    return {
        "calls": row["calls"],
        "failed_calls": row["failed_calls"],
        **{token: row[f"sum_{token}"] for token in TOKENS},
        "cost_usd": row["total"],
        "saved_usd": row["baseline"] - row["compared"],
        "cache_saved_usd": row["by_cache"],
    }


def month_of(user: User) -> dict[str, Any]:
    """Return the user's month to date, with the forecast to its end (None: too little history)."""
    to_date = budgets.month_to_date(user)
    now = budgets.database_now()
    days = daily(user, now, ZoneInfo(to_date.time_zone))
    mine = UsageLog.objects.filter(user=user, created_at__gte=to_date.starts_at, created_at__lt=to_date.ends_at)
    used = {name: value for name, value in _sums(mine.aggregate(**_summed())).items() if name != "cost_usd"}
    ahead: Forecast | None = forecast(days, to_date.spent_usd, now, to_date.ends_at, to_date.limit_usd)
    return {**asdict(to_date), **used, "baseline_model": settings.ROUTING_BASELINE_MODEL, "forecast": ahead}


def daily(user: User, now: datetime, zone: ZoneInfo) -> list[Decimal]:
    """Return the user's spending (USD) per whole day in `zone`, oldest first: since the first call, at most 28 days."""
    today = now.astimezone(zone).date()
    first = today - timedelta(days=MOST_DAYS)
    since = datetime(first.year, first.month, first.day, tzinfo=zone)
    mine = UsageLog.objects.filter(user=user)
    # A day without calls counts as zero, but only after the user's first call.
    began = mine.order_by("created_at").values_list("created_at", flat=True).first()
    if began is None:
        return []
    rows = mine.filter(created_at__gte=since).annotate(day=TruncDate("created_at", tzinfo=zone)).order_by()
    sums = dict(rows.values_list("day").annotate(total=exact_sum("cost_usd")))
    start = max(first, began.astimezone(zone).date())
    return [sums.get(start + timedelta(days=n), Decimal(0)) for n in range((today - start).days)]


def csv_rows(rows: QuerySet[UsageLog], after: Any, most: int) -> Sequence[tuple[Any, ...]]:
    """Return the next `most` rows by id (the order of settlement), newest first; each row starts with its id."""
    page = rows.order_by("-pk") if after is None else rows.filter(pk__lt=after).order_by("-pk")
    return list(page.values_list("pk", *COLUMNS)[:most])
