"""Staff see that conversations are there; what they say needs a right of its own and leaves a trace."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import AuditEvent, User
from chat import rows
from chat.asks import Ask
from chat.models import Conversation, Message

SECRET = "the-secret-plan"


@pytest.fixture
def message(user) -> Message:
    answer = rows.open_turn(user, Ask(content=SECRET, system_prompt=SECRET, metadata={"x": SECRET})).answer
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
