"""User activity: who uses the product, how much, and how many users return."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db.models import Count
from django.db.models.functions import TruncDay

from accounts.models import User
from aiagents.core.errors import InvalidRequest
from billing.models import UsageRollup
from billing.reports import figures, page_shapes, reading, shapes
from billing.reports.figures import share, time
from billing.reports.rollups import DAY

Slice = UsageRollup.Slice
MOST_USERS = 100
_NAMES = (*figures.LINE, "last_at")


def user_activity(from_: datetime, to: datetime) -> page_shapes.Activity:
    """Return the MOST_USERS users who spent most, and the numbers of active and new users per day.

    `points` are whole days. A user is active on a day with at least one call; a failed call counts, too.
    """
    if to <= from_:
        raise InvalidRequest("`to` must be later than `from`.", param="to")
    if (to - from_) / DAY > figures.MOST_POINTS:
        raise InvalidRequest(f"A report covers at most {figures.MOST_POINTS} days. Choose a later `from`.", param="from")
    people = figures.by_cost(reading.read(from_, to, Slice.USER, ("user_id",), names=_NAMES))
    spent = sum(total["cost_usd"] for _, total in people)
    top = people[:MOST_USERS]
    on_day, per_user = reading.presence(from_, to, Slice.USER, "user_id")
    joined = _joined(from_, to)
    lines: list[page_shapes.ActiveUser] = [
        {
            **line,
            "active_days": per_user.get(user_id, 0),
            "cost_share": share(total["cost_usd"], spent),
            "failed_share": share(total["failed_calls"], total["calls"]),
        }
        for line, (user_id, total) in zip(figures.labelled("user", top, shapes.Line), top, strict=True)
    ]
    return {
        "from": time(from_),
        "to": time(to),
        "users": {
            "total": User.objects.filter(is_active=True, created_at__lt=to).count(),
            "active": len(people),
            "new": sum(joined.values()),
            "came_back": sum(count > 1 for count in per_user.values()),
        },
        "people": lines,
        "people_left_out": max(0, len(people) - MOST_USERS),
        "points": [
            {"at": time(at), "active_users": on_day.get(at, 0), "new_users": joined.get(at, 0)} for at in reading.starts(from_, to, "day")
        ],
    }


def _joined(from_: datetime, to: datetime) -> dict[datetime, int]:
    rows = User.objects.filter(created_at__gte=from_, created_at__lt=to).order_by().annotate(day=TruncDay("created_at", tzinfo=UTC))
    return dict(rows.values_list("day").annotate(count=Count("pk")))
