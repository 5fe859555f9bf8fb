"""A conversation to take away."""

from __future__ import annotations

from typing import Any

from aiagents.lib import jsonio
from chat import wording
from chat.models import Conversation, Message
from chat.tree import Tree, rows_of


def as_json(conversation: Conversation) -> bytes:
    """The whole tree, every branch."""
    messages = Message.objects.filter(conversation=conversation).order_by("id")
    whole: dict[str, Any] = {
        "id": str(conversation.id),
        "title": conversation.title,
        "settings": conversation.settings,
        "leaf": str(conversation.leaf_id) if conversation.leaf_id else None,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "messages": [wording.listed(message) for message in messages.iterator(500)],
    }
    return jsonio.dumps(whole)


def as_markdown(conversation: Conversation) -> bytes:
    """The chosen branch, to read."""
    lines = [f"# {_line(conversation.title) or 'Conversation'}", ""]
    for message in rows_of(Tree(conversation).branch(conversation.leaf_id)):
        if message.role == Message.Role.USER:
            lines += ["## You", "", message.content, ""]
            attached = [part.get("name") or part.get("url") or part["type"] for part in message.parts if part["type"] != "text"]
            lines += [f"*Attached: {_line(name)}*\n" for name in attached]
        else:
            note = "" if message.status == Message.Status.COMPLETE else f" ({message.status})"
            lines += [f"## {_line(message.model) or 'Assistant'}{note}", "", message.content, ""]
    return "\n".join(lines).encode()


def file_name(conversation: Conversation, suffix: str) -> str:
    """A name that is safe in a header and on every disk."""
    words = "".join(c if c.isascii() and c.isalnum() else "-" for c in conversation.title.lower())
    return f"{'-'.join(filter(None, words.split('-')))[:60] or 'conversation'}.{suffix}"


def _line(text: str) -> str:
    return " ".join(text.split())
