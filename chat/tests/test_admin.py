"""Staff see that conversations are there; what they say needs a right of its own and leaves a trace."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import keys
from accounts.models import AuditEvent, User
from agents.models import AgentRun
from billing.models import UsageLog
from chat.models import Conversation, Message
from chat.tests.caller import whole
from chat.tests.socket import Socket
from chat.turn_request import TurnRequest
from chat.turns import store as turn_store

SECRET = "the-secret-plan"


@pytest.fixture
def message(user) -> Message:
    answer = turn_store.open_turn(user, TurnRequest(content=SECRET, system_prompt=SECRET, metadata={"x": SECRET})).answer
    Message.objects.filter(id=answer.id).update(status="complete", content=SECRET, reasoning=SECRET)
    return answer


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff@example.com", "x" * 12, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions, content_type__app_label="chat"))
    client = Client()
    client.force_login(user)
    return client


def pages(message: Message) -> list[str]:
    return [
        "/admin/chat/conversation/",
        "/admin/chat/message/",
        f"/admin/chat/conversation/{message.conversation_id}/change/",
        f"/admin/chat/message/{message.id}/change/",
        f"/admin/chat/message/{message.parent_id}/change/",
        "/admin/chat/message/?q=nonsense",
        f"/admin/chat/message/?q={message.id}",
        "/admin/chat/conversation/?q=ann@example.com",
    ]


def test_without_the_right_no_page_shows_content(message):
    client = staff("view_conversation", "view_message")
    for path in pages(message):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert SECRET not in answer.content.decode(), path
    assert not AuditEvent.objects.filter(action="chat.content_read").exists()


def test_with_the_right_content_is_shown_and_reading_it_is_written_down(message):
    client = staff("view_conversation", "view_message", "view_content")
    answer = client.get(f"/admin/chat/message/{message.id}/change/")
    assert SECRET in answer.content.decode()
    event = AuditEvent.objects.get(action="chat.content_read")
    assert event.target_id == str(message.id) and event.actor.email == "staff@example.com" and SECRET not in str(event.details)


def test_nothing_can_be_changed_or_deleted(message):
    client = staff("view_message", "change_message", "delete_message", "add_message", "view_content")
    for path in ("/admin/chat/message/add/", f"/admin/chat/message/{message.id}/delete/"):
        assert client.get(path).status_code == 403
    assert client.post(f"/admin/chat/message/{message.id}/change/", {"content": "x"}).status_code == 403
    assert Message.objects.get(id=message.id).content == SECRET and Conversation.objects.count() == 1


BROKEN = {"content": "[[sim:status=500]] Hello", "model": "gpt-4o-mini"}


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


async def asked_for_by(request_id: str) -> set[str]:
    """What the id finds: the roles of messages, and `call` for the usage log."""
    roles = {role async for role in Message.objects.filter(request_id=request_id).values_list("role", flat=True)}
    return roles | ({"call"} if await UsageLog.objects.filter(request_id=request_id).aexists() else set())


async def test_the_request_id_of_a_failed_answer_finds_its_messages_and_calls(key, vendors):
    async with vendors():
        for path in ("send", "stream"):
            answer = await whole("POST", f"/api/v1/chat/{path}", BROKEN, key=key, headers={"x-request-id": f"my-own.{path}:1"})
            assert f"my-own.{path}:1" in answer.body.decode()
            assert await asked_for_by(f"my-own.{path}:1") == {"user", "assistant", "call"}
        answer = await whole("POST", "/api/v1/chat/send", BROKEN, key=key)
        assert await asked_for_by(answer.headers["x-request-id"]) == {"user", "assistant", "call"}


async def test_each_turn_of_a_socket_has_an_id_of_its_own_which_its_error_shows(key, vendors):
    async with vendors(), Socket(key=key) as socket:
        shown = []
        for ref in ("1", "2"):
            socket.send({"type": "send", "ref": ref, **BROKEN})
            frames = await socket.until("error", "message.end")
            shown.append(frames[-1]["error"]["request_id"])
        socket.send({"type": "send", "ref": "3", "content": ""})
        refused = (await socket.until("error"))[-1]["error"]["request_id"]
    assert len({*shown, refused}) == 3
    for one in shown:
        assert await asked_for_by(one) == {"user", "assistant", "call"}
    assert not await AgentRun.objects.aexists()
