"""Server-Sent Events as bytes."""

from __future__ import annotations

from collections.abc import Mapping

from aiagents.core.errors import InvalidRequest

# Keeps proxies from closing an idle connection; clients ignore it.
COMMENT = b": keep-alive\n\n"
MEDIA_TYPE = "text/event-stream"


def event(name: str, data: bytes, seq: int | None = None) -> bytes:
    """One event as bytes. `data` is JSON on one line. Raises ValueError for a line break, which could forge an event."""
    if b"\n" in data or b"\r" in data:
        raise ValueError("an event's data is one line")
    if seq is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, name.encode(), data)


def last_event_id(headers: Mapping[str, str], query: Mapping[str, str], of: str) -> int:
    """The seq after which a client goes on, from `Last-Event-ID` or `?after=`; -1 without one. InvalidRequest for anything else.

    `of` says in the error what the events are of.
    """
    given = headers.get("last-event-id") or query.get("after") or "-1"
    if not given.removeprefix("-").isdecimal() or not given.isascii() or len(given) > 10 or int(given) < -1:
        raise InvalidRequest(f"Last-Event-ID is the id of an event of this {of}.", param="Last-Event-ID")
    return int(given)


# One event of a text/event-stream response in the OpenAPI document; each operation describes its `data`.
SCHEMA = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "description": "the event's type"},
        "id": {"type": "string", "description": "its seq"},
        "data": {"type": "string", "description": "JSON"},
    },
    "required": ["data"],
}
