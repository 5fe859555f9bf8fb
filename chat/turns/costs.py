"""The cost of an answer by the usage log, for turns that missed receipts of their calls."""

from __future__ import annotations

import time
from collections import defaultdict
from decimal import Decimal
from uuid import UUID

from aiagents.core.db.rotation import Rotation
from billing.models import Hold, UsageLog
from chat.models import Message

_COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd")
_ENDED_BADLY = [Message.Status.INTERRUPTED, Message.Status.CANCELLED, Message.Status.FAILED]
_LATE_SECONDS = 3600
# Answers that one sweep looks at: of the last hour, and of all others.
RECENT_MOST, OLDER_MOST = 1000, 200
recent_turns: Rotation[Message] = Rotation()
older_turns: Rotation[Message] = Rotation()


def fill(answer: Message) -> None:
    """Set what the calls of this turn used and cost, by the usage log. An answer that costs more than the log says is left alone."""
    calls = list(UsageLog.objects.filter(message_id=answer.id).order_by("created_at"))
    if calls and sum((call.cost_usd for call in calls), Decimal(0)) >= answer.cost_usd:
        _write(answer, calls)


def settled_calls(message_id: UUID) -> set[UUID]:
    """Return the vendor calls of a turn that are settled."""
    return set(UsageLog.objects.filter(message_id=message_id).values_list("call_id", flat=True))


def settle_late() -> int:
    """Correct the cost of ended answers by the usage log; return how many were changed.

    A call may be settled after its turn has ended: the hold of a killed process is swept later. The answers of the last hour come
    first; older ones, of outages and of earlier versions, follow a few at a time.
    """
    recent = UUID(int=int((time.time() - _LATE_SECONDS) * 1000) << 80)  # ids begin with their time
    ended = Message.objects.filter(status__in=_ENDED_BADLY)
    answers = recent_turns.page(ended.filter(id__gte=recent), RECENT_MOST) + older_turns.page(ended.filter(id__lt=recent), OLDER_MOST)
    logged: dict[UUID | None, list[UsageLog]] = defaultdict(list)
    for call in UsageLog.objects.filter(message_id__in=[answer.id for answer in answers]).order_by("created_at"):
        logged[call.message_id].append(call)
    wrong = [one for one in answers if sum((call.cost_usd for call in logged[one.id]), Decimal(0)) != one.cost_usd]
    if not wrong:
        return 0
    # The cost of a call that is being settled may be on the answer before it is in the log.
    settling = set(Hold.objects.filter(status=Hold.Status.OPEN).values_list("call__message_id", flat=True))
    late = 0
    for answer in wrong:
        if str(answer.id) not in settling:
            _write(answer, logged[answer.id])
            fields = {name: getattr(answer, name) for name in (*_COUNTS, "model", "provider", "simulated")}
            late += Message.objects.filter(id=answer.id).update(**fields)
    return late


def _write(answer: Message, calls: list[UsageLog]) -> None:
    for name in _COUNTS:
        setattr(answer, name, sum((getattr(call, name) for call in calls), Decimal(0) if name == "cost_usd" else 0))
    if calls:
        answer.model, answer.provider = answer.model or calls[-1].model, answer.provider or calls[-1].provider
        answer.simulated = answer.simulated or any(call.simulated for call in calls)
