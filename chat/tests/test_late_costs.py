"""An answer whose turn ended badly costs, in the end, what its calls cost by the usage log: however large the part it missed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils import timezone

from aiagents.core.db.rotation import Rotation
from aiagents.core.ids import uuid7
from billing.models import Hold, UsageLog
from chat import invariants
from chat.models import Conversation, Message
from chat.turns import costs as turn_costs

CENT = Decimal("0.01")


def answer(user, says: Decimal, *, at: float = 0, status: str = "interrupted") -> Message:
    """An ended answer of `at` seconds ago with this cost."""
    moment = int((timezone.now() - timedelta(seconds=at)).timestamp() * 1000)
    conversation = Conversation.objects.create(user=user)
    question = Message.objects.create(conversation=conversation, role="user", content="?")
    pk = UUID(int=(moment << 80) | (uuid7().int & ((1 << 80) - 1)))
    return Message.objects.create(id=pk, conversation=conversation, parent=question, role="assistant", status=status, cost_usd=says)


def call(user, message: Message, cost: Decimal = CENT, tokens: int = 7) -> None:
    UsageLog.objects.create(
        call_id=uuid7(), group_id=uuid7(), user=user, purpose="agent", surface="sse", requested_model="m", model="m", provider="openai",
        status="interrupted", cost_usd=cost, output_tokens=tokens, message_id=message.pk,
    )  # fmt: skip


def costs(message: Message) -> tuple[Decimal, int]:
    message.refresh_from_db()
    return message.cost_usd, message.output_tokens


@pytest.fixture(autouse=True)
def from_the_beginning(monkeypatch):
    monkeypatch.setattr(turn_costs, "recent_turns", Rotation())
    monkeypatch.setattr(turn_costs, "older_turns", Rotation())


@pytest.mark.parametrize("status", ["interrupted", "cancelled", "failed"])
@pytest.mark.parametrize("age", [0, 90 * 86400], ids=["now", "an earlier version's"])
def test_a_killed_agents_message_gets_the_cost_of_its_last_call(user, status, age):
    """The first step was paid and counted when the process died; the hold of the second was swept later."""
    late = answer(user, CENT, at=age, status=status)
    call(user, late)
    call(user, late)
    assert list(invariants.check())
    assert turn_costs.settle_late() == 1
    assert costs(late) == (2 * CENT, 14)
    assert not list(invariants.check())
    assert turn_costs.settle_late() == 0


def test_every_answer_is_reached_however_many_there_are_before_it(user, monkeypatch):
    monkeypatch.setattr(turn_costs, "RECENT_MOST", 3)
    monkeypatch.setattr(turn_costs, "OLDER_MOST", 2)
    wrong = []
    for age in (0, 86400):
        for _ in range(7):
            right = answer(user, CENT, at=age)
            call(user, right)
        wrong.append(answer(user, Decimal(0), at=age))
        call(user, wrong[-1])
    assert sum(turn_costs.settle_late() for _ in range(5)) == 2
    assert [costs(one)[0] for one in wrong] == [CENT, CENT]


def test_a_call_that_is_still_being_settled_is_waited_for(user):
    ahead = answer(user, 2 * CENT)
    call(user, ahead)
    hold = Hold.objects.create(id=uuid7(), amount_usd=CENT, call={"message_id": str(ahead.pk)})
    assert turn_costs.settle_late() == 0 and costs(ahead)[0] == 2 * CENT
    Hold.objects.filter(pk=hold.pk).update(status="settled")
    assert turn_costs.settle_late() == 1 and costs(ahead)[0] == CENT


def test_the_rotation_gives_every_row_and_begins_anew(user):
    found = [answer(user, CENT).pk for _ in range(5)]
    rotation: Rotation[Message] = Rotation()
    query = Message.objects.filter(role="assistant")
    pages = [[row.pk for row in rotation.page(query, 2)] for _ in range(5)]
    assert pages == [found[:2], found[2:4], found[4:], found[:2], found[2:4]]
    assert rotation.page(Message.objects.none(), 2) == []
