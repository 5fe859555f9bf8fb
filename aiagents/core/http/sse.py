"""Server-Sent Events as bytes."""

from __future__ import annotations

# Ends an idle time-out of proxies; readers ignore it.
COMMENT = b": keep-alive\n\n"
MEDIA_TYPE = "text/event-stream"


def event(name: str, data: bytes, seq: int | None = None) -> bytes:
    """One whole event. `data` is JSON on one line: a line break in it could forge another event, so it is refused."""
    if b"\n" in data or b"\r" in data:
        raise ValueError("an event's data is one line")
    if seq is None:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, name.encode(), data)


# Each event of a text/event-stream answer, for the OpenAPI document; what its data holds, the operation says.
SCHEMA = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "description": "the event's type"},
        "id": {"type": "string", "description": "its seq"},
        "data": {"type": "string", "description": "JSON"},
    },
    "required": ["data"],
}
