"""Cache of the messages of branches, for prompts. Ended messages never change, so they are read once.

It does not check permissions: tree.py checks the owner in the database before each use.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

import orjson
from django.conf import settings
from django.db.models import F, Sum, TextField, Window
from django.db.models.functions import Cast, Greatest, Length

from aiagents.core.valkey.cache import Layered
from chat.models import Message

# The fields that history.py reads.
FIELDS = ("id", "role", "status", "content", "parts", "model")
# Larger messages, such as those with images, are not cached.
_MOST_BYTES = 256 * 1024
# Messages per lookup: the first time, and at most.
_FIRST_READ, _MOST_READ = 32, 128


def _dump(message: Message) -> bytes | None:
    if message.status in Message.RUNNING:
        return None  # it still changes
    raw = orjson.dumps([getattr(message, name) for name in FIELDS])
    return raw if len(raw) <= _MOST_BYTES else None


def _load(raw: bytes) -> Message:
    values = dict(zip(FIELDS, orjson.loads(raw), strict=True))
    return Message(**values | {"id": UUID(values["id"])})


_cache: Layered[UUID, Message] = Layered(
    "messages", seconds=300, most_bytes=32 * 1024 * 1024, shared_seconds=1800, dump=_dump, load=_load
)  # fmt: skip


def branch(ids: list[UUID]) -> list[Message]:
    """Return the newest messages of a branch, oldest first, with at most MAX_PROMPT_CHARACTERS together.

    They have only the fields that history reads. They are shared, so never change them. Messages beyond the limit are not read.
    """
    left, end, step = settings.MAX_PROMPT_CHARACTERS, len(ids), _FIRST_READ
    newest: list[Message] = []
    while end > 0:
        some = ids[max(0, end - step) : end]
        found = _cache.many(some, partial(_read, left))
        for id in reversed(some):
            message = found.get(id)
            if message is None or (left := left - _characters(message)) < 0:
                return newest[::-1]
            newest.append(message)
        end, step = end - len(some), min(2 * step, _MOST_READ)
    return newest[::-1]


def _characters(message: Message) -> int:
    parts = sum(len(value) for part in message.parts for value in part.values() if isinstance(value, str))
    return max(len(message.content), parts)


def _read(most: int, ids: list[UUID]) -> dict[UUID, Message]:
    """Return the newest of the messages with at most `most` characters together. Ids begin with their time."""
    size = Greatest(Length("content"), Length(Cast("parts", TextField())))  # of parts, the content repeats the text
    rows = Message.objects.filter(id__in=ids).annotate(size=Window(Sum(size), order_by=F("id").desc()))
    return {message.id: message for message in rows.filter(size__lte=most).only(*FIELDS)}


def forget(ids: list[UUID]) -> None:
    """Drop deleted messages in this process and in Valkey. Raises Valkey's errors."""
    _cache.drop(ids)


def forget_here(ids: list[UUID]) -> None:
    """Drop deleted messages in this process."""
    _cache.drop_here(ids)
