"""Quality points that a model gains or loses in `auto` routing by users' votes on its answers.

The chat app counts the votes, and the catalogue stores the points. Each model starts with `FEEDBACK_PRIOR_VOTES`
assumed votes at the mean approval of all models. A few votes therefore change almost nothing, and only the difference
from the other models counts.
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

# Limits the mean approval: if all votes are positive, one negative vote must not have an extreme effect.
_LEAST_APPROVAL = 0.1
_PLACES = 3


@dataclass(frozen=True, slots=True)
class Votes:
    """The positive and negative votes on a model; one per user and day."""

    up: int = 0
    down: int = 0

    @property
    def total(self) -> int:
        return self.up + self.down


def approval(votes: Mapping[str, Votes]) -> float:
    """Return the share of positive votes over all models; one half without votes."""
    up, total = sum(one.up for one in votes.values()), sum(one.total for one in votes.values())
    prior = settings.FEEDBACK_PRIOR_VOTES
    return min(1 - _LEAST_APPROVAL, max(_LEAST_APPROVAL, (up + prior / 2) / (total + prior)))


def points(votes: Votes, usual: float) -> float:
    """Return the quality points (of 100) that votes add or take, at most `FEEDBACK_MOST_POINTS`.

    `usual`: mean approval.
    """
    surprise = votes.up - votes.total * usual
    return round(settings.FEEDBACK_MOST_POINTS * surprise / (votes.total + settings.FEEDBACK_PRIOR_VOTES) / max(usual, 1 - usual), _PLACES)


def keep(votes: Mapping[str, Votes], at: datetime) -> int:
    """Write the counted votes into the catalogue; return how many models changed. Safe to repeat."""
    usual, changed = approval(votes), 0
    with transaction.atomic():
        for model in AIModel.objects.filter(Q(slug__in=votes) | Q(votes_up__gt=0) | Q(votes_down__gt=0)):
            found = votes.get(model.slug, Votes())
            now = {"votes_up": found.up, "votes_down": found.down, "votes_points": points(found, usual)}
            moved = any(getattr(model, name) != value for name, value in now.items())
            changed += moved
            # Not `save`: staff did not edit the model, and one invalidation of the cache is enough.
            AIModel.objects.filter(pk=model.pk).update(**now, votes_counted_at=at)
        if changed:
            catalogue.invalidate()
    return changed


def report() -> list[dict[str, Any]]:
    """Return, for staff, every model with votes, most votes first. `auto` routing uses `quality_in_use`."""
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
