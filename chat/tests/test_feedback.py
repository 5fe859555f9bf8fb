"""From a thumb to routing: whose votes count, how often, and what `auto` makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from asgiref.sync import async_to_sync

from accounts.authentication import Principal
from accounts.models import User
from agents.calls import service as calls
from agents.calls.service import CallContext
from agents.messages import CompletionRequest, Text
from agents.messages import Message as Said
from agents.routing import connections, health
from aiagents.core.ids import uuid7
from billing.catalogue import snapshot as catalogue
from billing.catalogue.votes import Votes
from chat import tasks
from chat.conversations import feedback
from chat.models import Conversation, Message
from tests.kit import catalogue as installed_catalogue

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
_numbers = count()


@pytest.fixture
def people():
    def make(number: int) -> list[Conversation]:
        users = [User.objects.create_user(f"person-{next(_numbers)}@example.com", "correct horse battery staple") for _ in range(number)]
        return [Conversation.objects.create(user=user) for user in users]

    return make


def vote(
    conversation: Conversation, model: str, value: int | None, *, days: float = 1, simulated: bool = False, at: datetime = NOW
) -> Message:
    return Message.objects.create(
        conversation=conversation, role="assistant", content="x", model=model, feedback=value, simulated=simulated,
        created_at=at - timedelta(days=days),
    )  # fmt: skip


def test_each_person_counts_once_per_model_and_day_by_majority(people):
    ann, ben, cat = people(3)
    for value in (1, 1, 1, -1):
        vote(ann, "a", value)
    vote(ann, "b", -1)
    vote(ben, "a", -1)
    vote(cat, "a", 1)
    vote(cat, "a", -1, days=1.01)  # the same day: a tie is no vote
    vote(cat, "b", None)
    assert feedback.counted(NOW) == {"a": Votes(1, 1), "b": Votes(0, 1)}


def test_one_person_alone_speaks_only_so_often_and_the_newest_days_count(people, settings):
    (ann,) = people(1)
    for day in range(1, 60):
        vote(ann, "a", -1 if day <= 3 else 1, days=day)
    assert feedback.counted(NOW) == {"a": Votes(2, 3)}
    settings.FEEDBACK_VOTES_PER_USER = 2
    assert feedback.counted(NOW) == {"a": Votes(0, 2)}


def test_old_votes_simulated_answers_and_what_no_model_wrote_do_not_count(people):
    (ann,) = people(1)
    vote(ann, "a", 1, days=89.9)
    vote(ann, "a", 1, days=90.1)
    vote(ann, "b", 1, simulated=True)
    vote(ann, "", 1)
    vote(ann, "c", 1, days=-1)
    assert feedback.counted(NOW) == {"a": Votes(1, 0)}


def test_two_conversations_of_one_person_are_one_person(people):
    (ann,) = people(1)
    vote(ann, "a", 1)
    vote(Conversation.objects.create(user=ann.user), "a", 1)
    assert feedback.counted(NOW) == {"a": Votes(1, 0)}


@pytest.fixture
def routed(settings, db):
    """What `auto:best` makes of a request, in the order of its candidates."""
    settings.SIMULATOR = True
    settings.VENDORS = {kind: {"api_key": "", "base_url": ""} for kind in ("openai", "anthropic", "google")}
    installed_catalogue.load()
    connections.invalidate()
    health.reset()
    user = User.objects.create_user("router@example.com", "correct horse battery staple")
    principal = Principal(user=user, auth_epoch=user.auth_epoch)

    def rows() -> list[dict]:
        context = CallContext(principal, "chat", "rest", "x", uuid7(), requested_model="auto:best")
        request = CompletionRequest((Said("user", (Text("Hello"),)),))
        return async_to_sync(calls.preview)(request, context)["candidates"]

    return rows


def test_many_peoples_word_changes_what_auto_takes_and_the_route_says_so(routed, people, django_capture_on_commit_callbacks):
    before = routed()
    first, second = before[0]["model"], before[1]["model"]
    assert before[0]["feedback"] is None and before[0]["quality"] == catalogue.current_sync().get(first).quality
    at = datetime.now(UTC)
    for number, conversation in enumerate(people(60)):
        vote(conversation, first, -1, at=at)
        vote(conversation, second, 1 if number % 10 else -1, at=at)
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.weigh_feedback() == 2
    after = {row["model"]: row for row in routed()}
    assert next(iter(after)) != first
    told = after[first]["feedback"]
    assert (told["up"], told["down"]) == (0, 60) and -10 <= told["adjustment"] < -4
    assert after[first]["quality"] == pytest.approx(before[0]["quality"] + told["adjustment"])
    assert tasks.weigh_feedback() == 0


def test_one_angry_person_does_not_change_what_auto_takes(routed, people, django_capture_on_commit_callbacks):
    first = routed()[0]
    (angry,) = people(1)
    at = datetime.now(UTC)
    for day in range(1, 80):
        for _ in range(3):
            vote(angry, first["model"], -1, days=day, at=at)
    with django_capture_on_commit_callbacks(execute=True):
        tasks.weigh_feedback()
    row = next(row for row in routed() if row["model"] == first["model"])
    assert row["feedback"]["down"] == 5 and row["quality"] >= first["quality"] - 1.5


def test_the_switch_takes_the_votes_out_of_routing(routed, people, settings, django_capture_on_commit_callbacks):
    before = routed()
    at = datetime.now(UTC)
    for conversation in people(40):
        vote(conversation, before[0]["model"], -1, at=at)
    settings.ROUTING_FEEDBACK = False
    with django_capture_on_commit_callbacks(execute=True):
        tasks.weigh_feedback()
    after = routed()
    assert [row["model"] for row in after] == [row["model"] for row in before]
    assert after[0]["feedback"] == {"up": 0, "down": 40, "adjustment": 0.0}
