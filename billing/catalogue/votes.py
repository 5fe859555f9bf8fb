"""What people's votes on answers are worth to a model in `auto` routing: counted above, kept in the catalogue, shown to staff.

A vote is worth little until there are many. Each model starts with `FEEDBACK_PRIOR_VOTES` imagined votes at the approval that
all models have together, so what counts is how far it stands from the others, and a handful of votes moves almost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from billing.catalogue import snapshot as catalogue
from billing.models import AIModel

# The shared approval is kept off its ends: where all say yes, a no is no catastrophe.
_LEAST_APPROVAL = 0.1
_PLACES = 3


@dataclass(frozen=True, slots=True)
class Votes:
    """How many people's days spoke for a model, and against it."""

    up: int = 0
    down: int = 0

    @property
    def total(self) -> int:
        return self.up + self.down


def approval(votes: Mapping[str, Votes]) -> float:
    """The share of yes over all models; one half where nobody voted."""
    up, total = sum(one.up for one in votes.values()), sum(one.total for one in votes.values())
    prior = settings.FEEDBACK_PRIOR_VOTES
    return min(1 - _LEAST_APPROVAL, max(_LEAST_APPROVAL, (up + prior / 2) / (total + prior)))


def points(votes: Votes, usual: float) -> float:
    """Points of quality (of 100) that the votes add or take, `FEEDBACK_MOST_POINTS` at most; `usual`: the approval of all."""
    surprise = votes.up - votes.total * usual
    return round(settings.FEEDBACK_MOST_POINTS * surprise / (votes.total + settings.FEEDBACK_PRIOR_VOTES) / max(usual, 1 - usual), _PLACES)


def keep(votes: Mapping[str, Votes], at: datetime) -> int:
    """Write what was counted into the catalogue; how many models' standing changed. Safe to repeat."""
    usual, changed = approval(votes), 0
    with transaction.atomic():
        for model in AIModel.objects.filter(Q(slug__in=votes) | Q(votes_up__gt=0) | Q(votes_down__gt=0)):
            found = votes.get(model.slug, Votes())
            now = {"votes_up": found.up, "votes_down": found.down, "votes_points": points(found, usual)}
            moved = any(getattr(model, name) != value for name, value in now.items())
            changed += moved
            # Not `save`: nobody edited the model, and the cache is told once.
            AIModel.objects.filter(pk=model.pk).update(**now, votes_counted_at=at)
        if changed:
            catalogue.invalidate()
    return changed


def report() -> list[dict[str, Any]]:
    """For staff: every model that people voted on, the most votes first. `quality_in_use` is what `auto` reckons with."""
    rated = AIModel.objects.filter(Q(votes_up__gt=0) | Q(votes_down__gt=0))
    rows = [
        {
            "model": model.slug,
            "up": model.votes_up,
            "down": model.votes_down,
            "approval": round(model.votes_up / (model.votes_up + model.votes_down), 4),
            "points": model.votes_points,
            "quality": model.quality,
            "quality_in_use": catalogue.card(model, None).quality_in_use,
            "counted_at": model.votes_counted_at,
        }
        for model in rated
    ]
    return sorted(rows, key=lambda row: (-(row["up"] + row["down"]), row["model"]))
