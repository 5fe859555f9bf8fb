"""What was said in a branch, for the model: messages that have ended never change, so they are read once and kept.

Whose they are is asked of the database each time, before (tree.py): nothing here is a right to read.
"""

from __future__ import annotations

from uuid import UUID

import orjson

from aiagents.lib.cache import Layered
from chat.models import Message

# What history.py reads of a message.
FIELDS = ("id", "role", "status", "content", "parts", "model")
# A message with pictures stays in the database.
_MOST_BYTES = 256 * 1024


def _dump(message: Message) -> bytes | None:
    if message.status in Message.RUNNING:
        return None  # it still grows
    raw = orjson.dumps([getattr(message, name) for name in FIELDS])
    return raw if len(raw) <= _MOST_BYTES else None


def _load(raw: bytes) -> Message:
    values = dict(zip(FIELDS, orjson.loads(raw), strict=True))
    return Message(**values | {"id": UUID(values["id"])})


_cache: Layered[UUID, Message] = Layered(
    "messages", seconds=300, most_bytes=32 * 1024 * 1024, shared_seconds=1800, dump=_dump, load=_load
)  # fmt: skip


def branch(ids: list[UUID]) -> list[Message]:
    """The messages in the order of `ids`, with the fields that history reads and no others. Shared: never write them."""
    found = _cache.many(ids, _read)
    return [found[id] for id in ids if id in found]


def _read(ids: list[UUID]) -> dict[UUID, Message]:
    return {message.id: message for message in Message.objects.filter(id__in=ids).only(*FIELDS)}


def forget(ids: list[UUID]) -> None:
    """Drop deleted messages here and in Valkey, whose errors are raised."""
    _cache.drop(ids)


def forget_here(ids: list[UUID]) -> None:
    """Drop deleted messages in this process."""
    _cache.drop_here(ids)
