"""Server-Sent Events as bytes."""

from __future__ import annotations

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
