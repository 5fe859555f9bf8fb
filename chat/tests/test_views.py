"""Conversations over DRF: lists, search, branches, settings, feedback, export; and nobody else's."""

from __future__ import annotations

import json
import uuid

import pytest
from rest_framework.test import APIClient

from accounts import keys
from chat.models import Conversation
from chat.tests.making import API, said


def client_of(user, scopes=("chat",)) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {keys.create(user, name='t', scopes=scopes)[1]}")
    return client


@pytest.fixture
def ann(user) -> APIClient:
    return client_of(user)


@pytest.fixture
def bob(stranger) -> APIClient:
    return client_of(stranger)


def test_a_conversation_is_made_read_changed_and_deleted(ann, user):
    made = ann.post(API, {"title": "Trip", "settings": {"model": "gpt-4o", "temperature": 0.2}}, format="json")
    assert made.status_code == 201, made.content
    path = f"{API}/{made.json()['id']}"
    changed = ann.patch(path, {"pinned": True, "settings": {"temperature": None, "goal": "best"}}, format="json")
    assert changed.status_code == 200 and changed.json()["pinned"] and changed.json()["settings"] == {"model": "gpt-4o", "goal": "best"}
    assert ann.get(path).json() == changed.json()
    assert ann.delete(path).status_code == 204 and ann.get(path).status_code == 404
    assert ann.get(API).json()["results"] == [] and Conversation.objects.count() == 1


def test_one_idempotency_key_makes_one_conversation(ann):
    answers = [ann.post(API, {"title": "Once"}, format="json", headers={"Idempotency-Key": "c-1"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json() and answers[1]["Idempotent-Replayed"] == "true" and Conversation.objects.count() == 1


def test_the_list_is_searched_filtered_and_ordered(ann, user):
    rivers = said(user, "Rivers of Austria", "The Danube flows").conversation_id
    lakes = said(user, "Lakes of Italy", "Garda is large").conversation_id
    Conversation.objects.filter(id=lakes).update(archived=True)

    def found(query=""):
        answer = ann.get(API + query)
        assert answer.status_code == 200, answer.content
        return [row["id"] for row in answer.json()["results"]]

    assert found() == [str(lakes), str(rivers)]
    assert found("?search=danube") == [str(rivers)] == found("?search=RIVERS") == found("?search=rivers+danube")
    assert found("?search=danube+garda") == []
    assert found("?archived=true") == [str(lakes)] and found("?archived=false") == [str(rivers)] and found("?pinned=true") == []
    assert found("?ordering=title") == [str(lakes), str(rivers)] and found("?ordering=-title") == [str(rivers), str(lakes)]
    assert found("?search=50%25") == [] == found("?search=_")
    for hostile in ("?ordering=user__password", "?user__is_staff=1", "?archived=maybe", "?page_size=0", "?search=%00"):
        assert ann.get(API + hostile).status_code in (200, 400), hostile
    assert ann.get(API + "?ordering=user__password").status_code == 400
    first = ann.get(API + "?page_size=1").json()
    second = ann.get(first["next"]).json()
    assert [first["results"][0]["id"], second["results"][0]["id"]] == [str(lakes), str(rivers)] and second["next"] is None


def test_the_messages_are_the_chosen_branch_with_its_alternatives(ann, user):
    first = said(user, "One")
    other = said(user, "", regenerate_of=first.id)
    follow = said(user, "Two", conversation_id=first.conversation_id)
    path = f"{API}/{first.conversation_id}"
    listed = ann.get(f"{path}/messages").json()
    assert listed["next"] is None is listed["previous"]
    assert [row["id"] for row in listed["results"]] == [str(first.parent_id), str(other.id), str(follow.parent_id), str(follow.id)]
    assert listed["results"][1]["siblings"] == [str(first.id), str(other.id)] and listed["results"][1]["sibling_index"] == 1
    assert listed["results"][0]["role"] == "user" and listed["results"][1]["cost_usd"] == "0.00000000"

    switched = ann.patch(path, {"leaf": str(first.id)}, format="json")
    assert switched.status_code == 200 and switched.json()["leaf"] == str(first.id)
    assert [row["id"] for row in ann.get(f"{path}/messages").json()["results"]] == [str(first.parent_id), str(first.id)]
    back = ann.patch(path, {"leaf": str(other.id)}, format="json")
    assert back.json()["leaf"] == str(follow.id), "the newest end of that branch"
    page = ann.get(f"{path}/messages?page_size=3").json()
    rest = ann.get(page["next"]).json()
    assert len(page["results"]) == 3 and [row["id"] for row in rest["results"]] == [str(follow.id)] and rest["next"] is None


def test_what_is_not_there_to_be_set_cannot_be_set(ann, bob, user, stranger):
    mine, theirs = said(user, "Mine"), said(stranger, "Theirs")
    path = f"{API}/{mine.conversation_id}"
    for body in (
        {"user": str(stranger.id)}, {"id": str(uuid.uuid4())}, {"deleted_at": None}, {"title_is_set": False},
        {"created_at": "2020-01-01T00:00:00Z"},
        {"settings": {"x": 1}}, {"settings": {"temperature": 9}}, {"settings": []}, {"leaf": str(theirs.id)}, {"leaf": None}, {"leaf": "x"},
        {"title": "x" * 201}, {"pinned": "maybe"},
    ):  # fmt: skip
        answer = ann.patch(path, body, format="json")
        assert answer.status_code == 400, (body, answer.content)
        assert next(iter(body)) in str(answer.json()["error"]["details"]), answer.content
    assert ann.patch(path, {"title": "a\x00b"}, format="json").status_code == 400
    surrogate = ann.generic("PATCH", path, b'{"title": "\\ud800"}', content_type="application/json")
    assert surrogate.status_code == 400


def test_feedback_is_given_changed_and_taken_back(ann, user):
    message = said(user, "One")
    path = f"/api/v1/chat/messages/{message.id}/feedback"
    up = ann.post(path, {"rating": "up", "comment": "Good"}, format="json")
    assert up.status_code == 200 and up.json()["feedback"] == "up" and up.json()["feedback_comment"] == "Good"
    assert ann.post(path, {"rating": "down"}, format="json").json()["feedback"] == "down"
    taken = ann.post(path, {"rating": None, "comment": "still here?"}, format="json").json()
    assert taken["feedback"] is None and taken["feedback_comment"] == ""
    assert ann.post(path, {"rating": "sideways"}, format="json").status_code == 400 == ann.post(path, {}, format="json").status_code
    assert ann.post(f"/api/v1/chat/messages/{message.parent_id}/feedback", {"rating": "up"}, format="json").status_code == 404


def test_an_export_holds_the_whole_tree_or_the_chosen_branch(ann, user):
    first = said(user, 'Röck\n"; filename=evil.sh', "# Heading")
    said(user, "", "Second try", regenerate_of=first.id)
    path = f"{API}/{first.conversation_id}/export"
    whole = ann.get(path)
    assert whole.status_code == 200 and whole["Content-Type"] == "application/json" and len(json.loads(whole.content)["messages"]) == 3
    text = ann.get(path + "?format=markdown")
    assert (
        text["Content-Type"].startswith("text/markdown")
        and "Second try" in text.content.decode()
        and "# Heading" not in text.content.decode()
    )
    for answer in (whole, text):
        assert answer["Content-Disposition"].startswith('attachment; filename="r-ck') and "evil.sh" not in answer["Content-Disposition"]
        assert answer["X-Content-Type-Options"] == "nosniff"
    assert ann.get(path + "?format=exe").status_code == 400


def test_nothing_of_anothers_is_readable_or_changeable(ann, bob, user):
    message = said(user, "Secret plans")
    nothing = "01a206ca-7a02-776f-87f4-f8ae3074d1a5"

    def answers(conversation, message):
        calls = [
            ("get", f"{API}/{conversation}", None), ("patch", f"{API}/{conversation}", {"title": "x"}),
            ("delete", f"{API}/{conversation}", None),
            ("get", f"{API}/{conversation}/messages", None), ("get", f"{API}/{conversation}/export", None),
            ("post", f"/api/v1/chat/messages/{message}/feedback", {"rating": "up"}),
        ]  # fmt: skip
        found = []
        for method, path, body in calls:
            answer = getattr(bob, method)(path, body, format="json", headers={"X-Request-ID": "same-request"})
            found.append((answer.status_code, answer.content))
        return found

    assert answers(message.conversation_id, message.id) == answers(nothing, nothing)
    assert {status for status, _ in answers(nothing, nothing)} == {404}
    assert bob.get(API + "?search=secret").json()["results"] == []
    assert APIClient().get(API).status_code == 401


def test_scopes_decide_what_a_key_may_do(user):
    message = said(user, "One")
    reader, biller = client_of(user, ("read",)), client_of(user, ("billing",))
    path = f"{API}/{message.conversation_id}"
    assert reader.get(path).status_code == 200 and reader.patch(path, {"pinned": True}, format="json").status_code == 403
    assert biller.get(path).status_code == 403 == biller.post(API, {}, format="json").status_code


def test_the_browsable_pages_render_with_their_forms(user):
    message = said(user, "One")
    client = APIClient()
    client.force_login(user)
    for path in (API, f"{API}/{message.conversation_id}", f"{API}/{message.conversation_id}/messages"):
        answer = client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200 and answer["Content-Type"].startswith("text/html"), path


@pytest.mark.parametrize("count", [3, 30])
def test_a_page_of_conversations_and_a_branch_cost_few_queries(ann, user, django_assert_max_num_queries, count):
    leaf = said(user, "0")
    for number in range(1, count):
        leaf = said(user, str(number), conversation_id=leaf.conversation_id)
        said(user, f"Another {number}")
    with django_assert_max_num_queries(8):
        assert ann.get(API).status_code == 200
    with django_assert_max_num_queries(9):
        assert len(ann.get(f"{API}/{leaf.conversation_id}/messages?page_size=100").json()["results"]) == 2 * count
