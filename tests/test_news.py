"""News over two web processes: who hears what, and how soon. docs/streaming.md has the kinds."""

from __future__ import annotations

import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from aiagents.core.live.news import Kind
from chat.api import news as socket_news
from tests.kit.servers.live import ROOT, Live, launch
from tests.kit.servers.news import NewsSocket

# Seconds from an act in one process to the frame in the other: the median, so that one slow moment does not fail it.
SOON = 0.3
_ALERT = """
from datetime import timedelta
from django.utils import timezone
from accounts.models import User
from billing.models import Budget, BudgetAlert, BudgetWindow
user, now = User.objects.get(email="{email}"), timezone.now()
budget, _ = Budget.objects.get_or_create(scope="user", scope_id=user.pk, defaults={{"limit_usd": 1}})
window, _ = BudgetWindow.objects.get_or_create(budget=budget, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1))
alert = BudgetAlert.objects.create(user=user, window=window, threshold=50, spent_usd=1, limit_usd=2)
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Live]]:
    """An installation with two web processes, as each of them is reached."""
    live = launch(tmp_path_factory.mktemp("news"), os.environ.get("PYTEST_XDIST_WORKER", "") + "w")
    try:
        yield live, live.beside()
    finally:
        live.close()


@dataclass
class Person:
    live: Live
    email: str
    access: str
    key: str

    def call(self, method: str, path: str, body: object = None) -> dict:
        answer = self.live.call(method, path, body, key=self.access)
        assert answer.status < 300, answer.body
        return answer.json if answer.body else {}

    def conversation(self) -> str:
        return self.call("POST", "/api/v1/chat/conversations", {"title": "One"})["id"]

    def agent(self) -> str:
        body = {"name": "Asks", "model": "gpt-4o-mini", "tools": [{"name": "current_time", "approval": "always"}]}
        return self.call("POST", "/api/v1/agents/", body)["id"]

    def waiting_run(self) -> str:
        run = self.call("POST", f"/api/v1/agents/{self.agent()}/run", {"input": "[[call current_time {}]]"})
        assert run["status"] == "waiting_approval", run
        return run["id"]


@pytest.fixture
def person(two: tuple[Live, Live], request: pytest.FixtureRequest) -> Person:
    email = f"n{abs(hash(request.node.name))}@example.com"
    access, key = two[0].new_user(email)
    return Person(two[0], email, access, key)


# What makes each kind happen: the id that its news name. The act is done in one process and heard in the other.
Act = Callable[[Person], str]


def _alert(one: Person) -> str:
    one.live.manage("shell", "-v0", "-c", _ALERT.format(email=one.email))
    one.call("POST", "/api/v1/billing/alerts/read", {})
    return one.call("GET", "/api/v1/auth/profile")["id"]


def _decided(one: Person) -> str:
    run = one.waiting_run()
    one.call("POST", f"/api/v1/agents/runs/{run}/reject", {})
    return run


def _deleted(one: Person) -> str:
    id = one.conversation()
    one.call("DELETE", f"/api/v1/chat/conversations/{id}")
    return id


def _ended(one: Person) -> str:
    made = one.call("POST", "/api/v1/auth/api-keys", {"name": "gone", "scopes": ["chat"]})
    one.call("DELETE", f"/api/v1/auth/api-keys/{made['id']}")
    return made["id"]


ACTS: dict[Kind, Act] = {
    Kind.ALERT_CHANGED: _alert,
    Kind.APPROVAL_WANTED: lambda one: one.waiting_run(),
    Kind.APPROVAL_DECIDED: _decided,
    Kind.CONVERSATION_CHANGED: lambda one: one.conversation(),
    Kind.CONVERSATION_DELETED: _deleted,
    Kind.CONVERSATION_TITLED: lambda one: one.call("POST", "/api/v1/chat/send", {"content": "Hello"})["conversation_id"],
    Kind.CREDENTIAL_ENDED: _ended,
    Kind.RUN_CHANGED: lambda one: one.waiting_run(),
    Kind.TASK_CHANGED: lambda one: one.call("POST", "/api/v1/tasks/", {"name": "t", "input": "x", "schedule": {"type": "manual"}})["id"],
}
# Sent by the socket itself, after an outage of the layer: test_news_outage.py.
BY_THE_SOCKET = {Kind.NEWS_LOST}


def test_a_client_that_does_not_offer_news_gets_none(two: tuple[Live, Live], person: Person):
    headers = {"Authorization": f"Bearer {person.access}"}
    address = f"ws://127.0.0.1:{two[1].port}/api/v1/chat/ws"
    plain = [Subprotocol("aiagents.v1")]
    with NewsSocket(two[1], person.access) as other, connect(address, additional_headers=headers, subprotocols=plain) as socket:
        other.joined()
        other.until("conversation.changed", person.conversation())
        socket.send('{"type":"ping"}')
        assert json.loads(socket.recv(timeout=10)) == {"type": "pong"}


def test_every_kind_has_an_act_and_a_scope():
    assert set(ACTS) | BY_THE_SOCKET == set(Kind) == set(socket_news.SCOPES)


@pytest.mark.parametrize("kind", ACTS, ids=lambda kind: kind.value)
def test_the_other_process_hears_of_it(two: tuple[Live, Live], person: Person, kind: Kind):
    with NewsSocket(two[1], person.access) as socket:
        socket.joined()
        socket.until(kind.value, ACTS[kind](person))


def test_it_is_heard_within_three_tenths_of_a_second(two: tuple[Live, Live], person: Person):
    id, took = person.conversation(), []
    with NewsSocket(two[1], person.access) as socket:
        socket.joined()
        for number in range(11):
            begun = time.monotonic()
            person.call("PATCH", f"/api/v1/chat/conversations/{id}", {"title": f"Title {number}"})
            took.append(socket.until("conversation.changed", id) - begun)
    print(f"from the request to the frame: median {statistics.median(took) * 1000:.0f} ms, longest {max(took) * 1000:.0f} ms")
    assert statistics.median(took) <= SOON, took


def test_a_question_is_heard_before_its_answer_is_written(two: tuple[Live, Live], person: Person):
    id = person.conversation()
    with NewsSocket(two[1], person.access) as socket:
        socket.joined()
        person.call("POST", "/api/v1/chat/send", {"conversation_id": id, "content": "[[sim:chunks=20,pace=50]] Go"})
        assert socket.until("conversation.changed", id) < time.monotonic() - 0.5


def test_another_user_hears_nothing(two: tuple[Live, Live], person: Person):
    other = Person(two[1], "", *two[1].new_user("other@example.com"))
    with NewsSocket(two[1], other.access) as theirs, NewsSocket(two[1], person.access) as mine:
        theirs.joined()
        mine.joined()
        for kind in (Kind.CONVERSATION_DELETED, Kind.TASK_CHANGED, Kind.CREDENTIAL_ENDED, Kind.RUN_CHANGED):
            mine.until(kind.value, ACTS[kind](person))
        own = other.conversation()
        theirs.until("conversation.changed", own)  # whatever came before this would have arrived
        assert theirs.heard() == []


@pytest.mark.parametrize("scopes", [["chat"], ["chat", "tasks"], ["chat", "read"], ["chat", "agents", "billing"]], ids=",".join)
def test_a_key_hears_what_its_scopes_allow(two: tuple[Live, Live], person: Person, scopes: list[str]):
    key = person.call("POST", "/api/v1/auth/api-keys", {"name": "k", "scopes": scopes})["key"]
    with NewsSocket(two[1], key) as theirs, NewsSocket(two[1], person.access) as mine:
        theirs.joined()
        mine.joined()
        acts = [kind for kind in ACTS if kind is not Kind.CONVERSATION_TITLED]  # a title comes when it is ready
        for kind in acts:
            mine.until(kind.value, ACTS[kind](person))
        last = person.conversation()
        heard: list[str] = []
        while (frame := theirs.frames.get(timeout=10)[1])["id"] != last:
            heard.append(frame["kind"])
    allowed = {kind for kind in acts if (scope := socket_news.SCOPES[kind]) in scopes or (scope and "read" in scopes)}
    assert {Kind(kind) for kind in heard} - {Kind.CONVERSATION_TITLED} == allowed


def test_the_page_handles_every_kind():
    """Each kind has a subject, and some module of the page listens to it."""
    text = (ROOT / "static/shared/news_subjects.js").read_text()
    gone = re.search(r'GONE = "([a-z-]+)"', text)
    assert gone
    subjects = dict(re.findall(r'^  "([a-z.]+)": (?:"?)([A-Za-z-]+)', text, re.M))
    assert set(subjects) == {kind.value for kind in Kind}
    pages = [path.read_text() for path in (ROOT / "static").rglob("*.js") if "vendor" not in path.parts and "news" not in path.stem]
    for kind, subject in subjects.items():
        name = gone[1] if subject == "GONE" else subject
        words = {"GONE", f'"{name}"'} if subject == "GONE" else {f'"{name}"'}
        assert subject == "null" or any(word in page for page in pages for word in words), f"no page listens to {kind} ({name})"
