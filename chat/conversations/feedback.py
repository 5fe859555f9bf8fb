"""Adds up users' ratings of answers for routing: one vote per user, model and day, and a limited number per user."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from billing.catalogue import votes
from billing.catalogue.votes import Votes
from chat.models import Message


def weigh(now: datetime | None = None) -> int:
    """Count the votes of the last `FEEDBACK_DAYS` and apply them to `auto`. Return how many models' quality changed."""
    at = now or timezone.now()
    return votes.keep(counted(at), at)


def counted(now: datetime) -> dict[str, Votes]:
    """Return the votes of each model. A user's ratings of one model and day are one vote, by majority; a tie is none.

    Simulated answers are left out. Only the newest `FEEDBACK_VOTES_PER_USER` votes of a user and model count.
    """
    since = now - timedelta(days=settings.FEEDBACK_DAYS)
    days = (
        Message.objects.filter(created_at__gte=since, created_at__lte=now, feedback__isnull=False, simulated=False)
        .exclude(model="")
        .order_by()
        .values("model", "conversation__user_id", day=TruncDate("created_at", tzinfo=UTC))
        .annotate(rating=Sum("feedback"))
        .exclude(rating=0)
        .order_by("-day")
    )
    votes_of: dict[tuple[str, object], int] = defaultdict(int)
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in days.iterator():
        person = (row["model"], row["conversation__user_id"])
        if votes_of[person] < settings.FEEDBACK_VOTES_PER_USER:
            votes_of[person] += 1
            sums[row["model"]][0 if row["rating"] > 0 else 1] += 1
    return {model: Votes(up, down) for model, (up, down) in sums.items()}
