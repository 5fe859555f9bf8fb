"""What must always be true of conversations, asked of the database; `billing.invariants` runs it.

I1  an answer stands under a question of the same conversation
I5  every message has a status of the closed list, and none is left running by a dead process
I3  an ended answer costs what its calls cost
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import F, Q
from django.db.models.functions import Now

from billing.invariants import Violation
from billing.models import Hold, UsageLog
from chat.models import Conversation, Message
from chat.turns.store import SILENCE_SECONDS

_ROWS = 20_000
_PATIENCE = 3


def check() -> Iterator[Violation]:
    yield from _questions()
    yield from _statuses()
    yield from _costs()


def _questions() -> Iterator[Violation]:
    answers = Message.objects.filter(role=Message.Role.ASSISTANT)
    orphan = Q(parent=None) | ~Q(parent__role=Message.Role.USER) | ~Q(parent__conversation=F("conversation"))
    for pk in answers.filter(orphan).values_list("pk", flat=True):
        yield Violation("I1", f"answer {pk} stands under no question of its conversation")
    for pk in Conversation.objects.exclude(leaf=None).exclude(leaf__conversation=F("pk")).values_list("pk", flat=True):
        yield Violation("I1", f"conversation {pk} shows a branch of another")


def _statuses() -> Iterator[Violation]:
    for pk, status in Message.objects.exclude(status__in=Message.Status.values).values_list("pk", "status"):
        yield Violation("I5", f"message {pk} has the status {status!r}")
    since = Now() - timedelta(seconds=_PATIENCE * SILENCE_SECONDS)
    stuck = Message.objects.filter(status__in=Message.RUNNING).filter(Q(heartbeat_at=None) | Q(heartbeat_at__lt=since))
    for pk in stuck.values_list("pk", flat=True):
        yield Violation("I5", f"message {pk} has been silent for long and was not swept")


def _costs() -> Iterator[Violation]:
    """Of the newest answers. What is still being settled is left out; deleted conversations leave only their books."""
    ended = Message.objects.filter(role=Message.Role.ASSISTANT).exclude(status__in=Message.RUNNING).order_by("-id")
    costs = dict(ended.values_list("pk", "cost_usd")[:_ROWS])
    open_calls = {call.get("message_id") for call in Hold.objects.filter(status=Hold.Status.OPEN).values_list("call", flat=True)}
    if not costs:
        return
    oldest = min(costs)
    booked: dict[UUID, Decimal] = defaultdict(Decimal)
    calls = UsageLog.objects.filter(message_id__gte=oldest).values_list("message_id", "cost_usd")
    for pk, cost in calls.iterator():
        assert pk is not None
        booked[pk] += cost
    for pk, cost in costs.items():
        if cost != booked[pk] and str(pk) not in open_calls:
            yield Violation("I3", f"message {pk} says {cost}, its calls cost {booked[pk]}")
