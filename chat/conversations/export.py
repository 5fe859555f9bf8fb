"""Exports conversations: small ones as a whole, large ones message by message, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any
from uuid import UUID

from django.db.models import Sum, TextField
from django.db.models.functions import Cast, Length

from aiagents.core import jsonio
from aiagents.core.db.calls import in_db
from chat.conversations import as_json as message_json
from chat.conversations.tree import LONG, Tree
from chat.models import Conversation, Message

# Exports of conversations with at most this many characters are made in one piece.
SMALL = 1_000_000


def size(conversation: Conversation) -> int:
    """Return the characters of all messages. The database adds them up, so no message is loaded."""
    lengths = {name: Sum(Length(Cast(name, TextField()))) for name in LONG}
    return sum(found or 0 for found in Message.objects.filter(conversation=conversation).aggregate(**lengths).values())


def as_json(conversation: Conversation) -> bytes:
    """Return the whole tree as JSON."""
    return b"".join(_joined(_json(conversation)))


def as_markdown(conversation: Conversation) -> bytes:
    """Return the chosen branch as Markdown."""
    return b"".join(_joined(_markdown(conversation)))


async def stream_json(conversation: Conversation) -> AsyncGenerator[bytes, None]:
    """Yield `as_json` in pieces of one message."""
    async for piece in _streamed(await in_db(_json, conversation)):
        yield piece


async def stream_markdown(conversation: Conversation) -> AsyncGenerator[bytes, None]:
    """Yield `as_markdown` in pieces of one message."""
    async for piece in _streamed(await in_db(_markdown, conversation)):
        yield piece


# Prefix, ids of the messages, the function that encodes a message (with True for the first one), suffix.
_Plan = tuple[bytes, list[UUID], Callable[[Message, bool], bytes], bytes]


def _joined(plan: _Plan) -> Iterator[bytes]:
    before, ids, piece, behind = plan
    yield before
    first = True
    for id in ids:
        found = _piece(id, piece, first)
        first = first and not found
        yield found
    yield behind


async def _streamed(plan: _Plan) -> AsyncGenerator[bytes, None]:
    before, ids, piece, behind = plan
    yield before
    first = True
    for id in ids:
        found = await in_db(_piece, id, piece, first)
        first = first and not found
        yield found
    yield behind


def _piece(id: UUID, piece: Callable[[Message, bool], bytes], first: bool) -> bytes:
    message = Message.objects.filter(pk=id).first()
    return b"" if message is None else piece(message, first)  # deleted meanwhile


def _json(conversation: Conversation) -> _Plan:
    head: dict[str, Any] = {
        "id": str(conversation.id),
        "title": conversation.title,
        "settings": conversation.settings,
        "leaf": str(conversation.leaf_id) if conversation.leaf_id else None,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }
    ids = list(Message.objects.filter(conversation=conversation).order_by("id").values_list("id", flat=True))

    def piece(message: Message, first: bool) -> bytes:
        return (b"" if first else b",") + jsonio.dumps(message_json.listed(message))

    return jsonio.dumps(head)[:-1] + b',"messages":[', ids, piece, b"]}"


def _markdown(conversation: Conversation) -> _Plan:
    def piece(message: Message, first: bool) -> bytes:
        if message.role == Message.Role.USER:
            lines = ["## You", "", message.content, ""]
            attached = [part.get("name") or part.get("url") or part["type"] for part in message.parts if part["type"] != "text"]
            lines += [f"*Attached: {_line(name)}*\n" for name in attached]
        else:
            note = "" if message.status == Message.Status.COMPLETE else f" ({message.status})"
            lines = [f"## {_line(message.model) or 'Assistant'}{note}", "", message.content, ""]
        return "".join(f"\n{line}" for line in lines).encode()

    title = f"# {_line(conversation.title) or 'Conversation'}\n"
    return title.encode(), Tree(conversation).branch(conversation.leaf_id), piece, b""


def file_name(conversation: Conversation, suffix: str) -> str:
    """Return a file name that is safe in headers and on all file systems."""
    words = "".join(c if c.isascii() and c.isalnum() else "-" for c in conversation.title.lower())
    return f"{'-'.join(filter(None, words.split('-')))[:60] or 'conversation'}.{suffix}"


def _line(text: str) -> str:
    return " ".join(text.split())
