"""The checker finds what must not be."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from billing import invariants as all_invariants
from chat import invariants
from chat.models import Conversation, Message
from chat.turn_request import TurnRequest
from chat.turns import store as turn_store


def broken(rule: str) -> bool:
    return any(violation.rule == rule for violation in invariants.check())


def test_it_is_quiet_where_nothing_is_wrong_and_registered(user):
    turn_store.open_turn(user, TurnRequest(content="Hi"))
    assert list(invariants.check()) == [] and "chat" in all_invariants.registered_checks


def test_it_finds_a_stuck_turn(user):
    answer = turn_store.open_turn(user, TurnRequest(content="Hi")).answer
    Message.objects.filter(id=answer.id).update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert broken("I5")


def test_it_finds_an_unknown_status(user):
    answer = turn_store.open_turn(user, TurnRequest(content="Hi")).answer
    Message.objects.filter(id=answer.id).update(status="lost")
    assert broken("I5")


def test_it_finds_an_answer_without_its_question_and_a_foreign_branch(user):
    one, two = turn_store.open_turn(user, TurnRequest(content="Hi")).answer, turn_store.open_turn(user, TurnRequest(content="Ho")).answer
    Conversation.objects.filter(id=one.conversation_id).update(leaf=two)
    assert broken("I1")
    Conversation.objects.filter(id=one.conversation_id).update(leaf=one)
    assert not broken("I1")
    Message.objects.filter(id=one.id).update(parent=None)
    assert broken("I1")


def test_it_finds_a_cost_that_nobody_paid(user):
    answer = turn_store.open_turn(user, TurnRequest(content="Hi")).answer
    Message.objects.filter(id=answer.id).update(status="complete", cost_usd=Decimal("0.01"))
    assert broken("I3")
