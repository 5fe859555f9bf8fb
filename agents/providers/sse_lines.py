"""Server-Sent Events from raw bytes: only what vendors' streams need, and no object per event."""

from __future__ import annotations

from agents.providers.errors import ProviderBadResponse

# One event is a few hundred bytes; images and long tool arguments stay below this by far.
MAX_EVENT_BYTES = 4 * 1024 * 1024


class EventSplitter:
    """Feed it what the network delivers; it gives the payloads (`data:`) of the events that are complete.

    None means that no event was completed, an empty list that there were only comments: a sign of life.
    """

    __slots__ = ("_limit", "_tail")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._tail = b""
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes] | None:
        if self._tail:
            data = self._tail + data
        if b"\r" in data:  # Gemini ends its lines so; a CR that is still without its LF waits in the tail
            data = data.replace(b"\r\n", b"\n")
        head, found, self._tail = data.rpartition(b"\n\n")
        if not found:
            # Events that came before the endless one were given out already.
            if len(self._tail) > self._limit:
                raise ProviderBadResponse("The model's vendor sent an event without end.", details={"limit_bytes": self._limit})
            return None
        return [payload for event in head.split(b"\n\n") if (payload := _payload(event))]


def _payload(event: bytes) -> bytes:
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
