"""What all reports are made with: totals, their JSON, and the names of what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from aiagents.core.errors import InvalidRequest
from aiagents.core.jsonio import money
from billing.budgets import budgets, subjects
from billing.catalogue import snapshot as catalogue
from billing.models import UsageRollup
from billing.reports import rollups, sums, timing

Slice = UsageRollup.Slice
# What `group_by` may say: the slice that is read, and its column.
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
# What a line of a table says.
LINE = ("calls", "failed_calls", "input_tokens", "output_tokens", "cost_usd")
BUCKETS = ("auto", "hour", "day", "week", "month")
MOST_POINTS = 1500
# Of an amount that was divided.
PLACES = Decimal("1e-8")


def checked(from_: datetime, to: datetime, group_by: str = "none", bucket: str = "auto") -> str:
    """The bucket to use; InvalidRequest for what makes no sense, is too fine or is not kept."""
    if to <= from_:
        raise InvalidRequest("`to` is later than `from`.", param="to")
    if group_by not in GROUPS:
        raise InvalidRequest(f"group_by is one of {', '.join(GROUPS)}.", param="group_by")
    if bucket not in BUCKETS:
        raise InvalidRequest(f"bucket is one of {', '.join(BUCKETS)}.", param="bucket")
    days = (to - from_) / timedelta(days=1)
    if bucket == "auto":
        bucket = "hour" if days <= 3 and _has_hours(from_) else "day" if days <= 400 else "month"
    if bucket == "hour" and not _has_hours(from_):
        raise InvalidRequest("Hours that long ago are not kept; take days.", param="bucket")
    per_day = {"hour": 24, "day": 1, "week": 1 / 7, "month": 1 / 30}[bucket]
    if days * per_day > MOST_POINTS:
        raise InvalidRequest(f"That would be more than {MOST_POINTS} points; take a larger bucket.", param="bucket")
    return bucket


def labelled(group_by: str, groups: Iterable[tuple[Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Lines of a table: `key` (what to filter by, None for calls without one) and `label` (for people), then the sums."""
    lines = list(groups)
    names = labels(group_by, [key for key, _ in lines])
    return [{"key": None if key is None else str(key), "label": names[key]} | shown(sums_) for key, sums_ in lines]


def labels(group_by: str, keys: Iterable[Any]) -> Mapping[Any, str]:
    """What people call these keys."""
    wanted = list(keys)
    if group_by in ("user", "key", "agent"):
        known = subjects.named(group_by, cast("list[UUID]", [key for key in wanted if key is not None]))
        return {key: f"without {group_by}" if key is None else known[key].name if key in known else str(key) for key in wanted}
    if group_by == "model":
        cards = catalogue.current_sync().cards
        return {key: cards[key].display_name if key in cards else str(key) for key in wanted}
    return {key: str(key) or "unknown" for key in wanted}


def dearest(found: Mapping[tuple[Any, ...], dict[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    """One-column groups by cost, then calls."""
    rows = [(key[0], total) for key, total in found.items()]
    return sorted(rows, key=lambda row: (-row[1]["cost_usd"], -row[1]["calls"], str(row[0])))


def nothing(names: Iterable[str] = sums.USUAL) -> dict[str, Any]:
    return sums.zero(names) | {"simulated_calls": 0}


def together(rows: Iterable[Mapping[str, Any]], names: Iterable[str] = sums.USUAL) -> dict[str, Any]:
    """Totals of totals."""
    total = nothing(names)
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


def shown(total: Mapping[str, Any]) -> dict[str, Any]:
    """A total as JSON. `saved_usd`: what the baseline model would have cost more, over the calls where that is known."""
    found: dict[str, Any] = {}
    for name, value in total.items():
        if name not in sums.BUCKETS:
            found[name] = money(value) if isinstance(value, Decimal) else time(value) if isinstance(value, datetime) else value
    if "baseline_cost_usd" in total:
        found["saved_usd"] = money(total["baseline_cost_usd"] - total["compared_cost_usd"])
    return found


def time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def share(part: Any, whole: Any) -> float | None:
    """part / whole, for people: four places; None of nothing."""
    return round(float(part) / float(whole), 4) if whole else None


def _has_hours(from_: datetime) -> bool:
    return rollups.floor_hour(from_) >= rollups.hours_since(budgets.database_now())
