"""What the tests of chat make."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from chat.models import Message
from chat.turn_request import TurnRequest
from chat.turns import store as turn_store

API = "/api/v1/chat/conversations"


def said(user, question: str, answer: str = "An answer", **ask) -> Message:
    """One ended exchange."""
    message = turn_store.open_turn(user, TurnRequest(content=question, **ask)).answer
    Message.objects.filter(id=message.id).update(status="complete", content=answer, model="gpt-4o-mini", provider="openai", last_seq=2)
    message.refresh_from_db()
    return message


def left_behind(user, *, content="partial ", last_seq=3, silent=30.0) -> Message:
    """A running message whose process is gone."""
    answer = turn_store.open_turn(user, TurnRequest(content="Question")).answer
    Message.objects.filter(id=answer.id).update(
        status="streaming", content=content, last_seq=last_seq, heartbeat_at=timezone.now() - timedelta(seconds=silent)
    )
    return Message.objects.get(id=answer.id)
