"""People's thumbs on answers, added up for routing: one word per person, model and day, and only so many of one person's."""

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
    """Count the votes of the last `FEEDBACK_DAYS` and let them speak in `auto`; how many models' standing changed."""
    at = now or timezone.now()
    return votes.keep(counted(at), at)


def counted(now: datetime) -> dict[str, Votes]:
    """Each model's votes. A person's thumbs of one day on one model are one vote, by their majority; a tie is none.

    Simulated answers say nothing about a model. Of one person only the newest `FEEDBACK_VOTES_PER_USER` days count.
    """
    since = now - timedelta(days=settings.FEEDBACK_DAYS)
    days = (
        Message.objects.filter(created_at__gte=since, created_at__lte=now, feedback__isnull=False, simulated=False)
        .exclude(model="")
        .order_by()
        .values("model", "conversation__user_id", day=TruncDate("created_at", tzinfo=UTC))
        .annotate(said=Sum("feedback"))
        .exclude(said=0)
        .order_by("-day")
    )
    heard: dict[tuple[str, object], int] = defaultdict(int)
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in days.iterator():
        person = (row["model"], row["conversation__user_id"])
        if heard[person] < settings.FEEDBACK_VOTES_PER_USER:
            heard[person] += 1
            sums[row["model"]][0 if row["said"] > 0 else 1] += 1
    return {model: Votes(up, down) for model, (up, down) in sums.items()}
