"""Shared parts of the reports: totals, their JSON, and labels of users, keys, agents and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar, cast
from uuid import UUID

from aiagents.core.errors import InvalidRequest
from aiagents.core.jsonio import money
from billing.budgets import budgets, subjects
from billing.catalogue import snapshot as catalogue
from billing.models import UsageRollup
from billing.reports import rollups, shapes, sums, timing

Shown = TypeVar("Shown", bound=shapes.Totals)
Labelled = TypeVar("Labelled", shapes.GroupTotals, shapes.Line)
Slice = UsageRollup.Slice
# The values of `group_by`: the slice that is read, and its column.
GROUPS: dict[str, tuple[str, str]] = {
    "none": (Slice.MODEL, ""),
    "model": (Slice.MODEL, "model"),
    "provider": (Slice.MODEL, "provider"),
    "purpose": (Slice.WORK, "purpose"),
    "surface": (Slice.WORK, "surface"),
    "status": (Slice.WORK, "status"),
    "user": (Slice.USER, "user_id"),
    "key": (Slice.KEY, "api_key_id"),
    "agent": (Slice.AGENT, "agent_id"),
}
# The sums in a line of a table.
LINE = ("calls", "failed_calls", "input_tokens", "output_tokens", "cost_usd")
BUCKETS = ("auto", "hour", "day", "week", "month")
MOST_POINTS = 1500
# The decimal places of an amount that was divided.
PLACES = Decimal("1e-8")


def checked(from_: datetime, to: datetime, group_by: str = "none", bucket: str = "auto") -> str:
    """Return the bucket to use.

    Raises InvalidRequest for unknown values, for too many points and for hours not kept.
    """
    if to <= from_:
        raise InvalidRequest("`to` must be later than `from`.", param="to")
    if group_by not in GROUPS:
        raise InvalidRequest(f"group_by must be one of {', '.join(GROUPS)}.", param="group_by")
    if bucket not in BUCKETS:
        raise InvalidRequest(f"bucket must be one of {', '.join(BUCKETS)}.", param="bucket")
    days = (to - from_) / timedelta(days=1)
    if bucket == "auto":
        bucket = "hour" if days <= 3 and _has_hours(from_) else "day" if days <= 400 else "month"
    if bucket == "hour" and not _has_hours(from_):
        raise InvalidRequest("Hourly figures are not kept that long. Choose the bucket day.", param="bucket")
    per_day = {"hour": 24, "day": 1, "week": 1 / 7, "month": 1 / 30}[bucket]
    if days * per_day > MOST_POINTS:
        raise InvalidRequest(f"The report would have more than {MOST_POINTS} points. Choose a larger bucket.", param="bucket")
    return bucket


def labelled(group_by: str, groups: Iterable[tuple[Any, dict[str, Any]]], shape: type[Labelled]) -> list[Labelled]:
    """Return lines of a table: `key` (the value to filter by, None for calls without one), `label`, and the sums.

    `shape` is the type of the lines; the groups must have its sums.
    """
    lines = list(groups)
    names = labels(group_by, [key for key, _ in lines])
    return [
        cast("Labelled", {"key": None if key is None else str(key), "label": names[key], **shown(total, shapes.Totals)})
        for key, total in lines
    ]


def labels(group_by: str, keys: Iterable[Any]) -> Mapping[Any, str]:
    """Return a display name for each key."""
    wanted = list(keys)
    if group_by in ("user", "key", "agent"):
        known = subjects.named(group_by, cast("list[UUID]", [key for key in wanted if key is not None]))
        return {key: f"without {group_by}" if key is None else known[key].name if key in known else str(key) for key in wanted}
    if group_by == "model":
        cards = catalogue.current_sync().cards
        return {key: cards[key].display_name if key in cards else str(key) for key in wanted}
    return {key: str(key) or "unknown" for key in wanted}


def by_cost(found: Mapping[tuple[Any, ...], dict[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    """Return groups of one column, sorted by cost and then by calls, highest first."""
    rows = [(key[0], total) for key, total in found.items()]
    return sorted(rows, key=lambda row: (-row[1]["cost_usd"], -row[1]["calls"], str(row[0])))


def no_usage(names: Iterable[str] = sums.USUAL) -> dict[str, Any]:
    return sums.zero(names) | {"simulated_calls": 0}


def add_up(rows: Iterable[Mapping[str, Any]], names: Iterable[str] = sums.USUAL) -> dict[str, Any]:
    """Return the sum of several totals."""
    total = no_usage(names)
    for row in rows:
        for name in total:
            if name in sums.BUCKETS:
                total[name] = timing.added([total[name], row[name]])
            elif name in sums.LARGEST:
                values = [value for value in (total[name], row[name]) if value is not None]
                total[name] = max(values, default=None)
            else:
                total[name] += row[name]
    return total


def shown(total: Mapping[str, Any], shape: type[Shown]) -> Shown:
    """Return a total as JSON. `saved_usd`: the baseline model's cost minus the actual cost, where both are known.

    `shape` is the type of the JSON; the total must have its sums.
    """
    found: dict[str, Any] = {}
    for name, value in total.items():
        if name not in sums.BUCKETS:
            found[name] = money(value) if isinstance(value, Decimal) else time(value) if isinstance(value, datetime) else value
    if "baseline_cost_usd" in total:
        found["saved_usd"] = money(total["baseline_cost_usd"] - total["compared_cost_usd"])
    return cast("Shown", found)


def time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def share(part: Any, whole: Any) -> float | None:
    """Return part / whole, rounded to four places; None when the whole is zero."""
    return round(float(part) / float(whole), 4) if whole else None


def _has_hours(from_: datetime) -> bool:
    return rollups.floor_hour(from_) >= rollups.hours_since(budgets.database_now())
