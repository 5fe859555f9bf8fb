"""Parser of Server-Sent Events in vendors' streams. It creates no object per event."""

from __future__ import annotations

from agents.providers.errors import ProviderBadResponse

# An event has a few hundred bytes; images and long tool arguments are far below this.
MAX_EVENT_BYTES = 4 * 1024 * 1024


class EventSplitter:
    """Splits network data into the payloads (`data:`) of complete events.

    `feed` returns None if no event was completed, and an empty list if there were only comments (keep-alives).
    """

    __slots__ = ("_limit", "_tail")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._tail = b""
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes] | None:
        if self._tail:
            data = self._tail + data
        if b"\r" in data:  # Gemini's line ends; a CR without its LF stays in the tail
            data = data.replace(b"\r\n", b"\n")
        head, found, self._tail = data.rpartition(b"\n\n")
        if not found:
            if len(self._tail) > self._limit:
                raise ProviderBadResponse("The model's vendor sent an endless event.", details={"limit_bytes": self._limit})
            return None
        return [payload for event in head.split(b"\n\n") if (payload := _payload(event))]


def _payload(event: bytes) -> bytes:
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
