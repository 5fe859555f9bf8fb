"""The vendors' wire formats: each module reads a request into a Prompt and encodes an Answer as its vendor would.

A wire has `read(body, path) -> Prompt`, `stream(prompt, answer, usages, body) -> list[bytes]` (whole SSE events, the terminal
mark last), `whole(…) -> dict` (the JSON answer), `error(status, behaviour, leaked) -> dict` and `error_event() -> bytes`.
"""

from __future__ import annotations

import json
from typing import Any

Obj = dict[str, Any]
CREATED = 1_700_000_000


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def sse(data: Any, event: str | None = None) -> bytes:
    payload = data if isinstance(data, bytes) else dumps(data)
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + payload + b"\n\n"


def fragments(text: str, size: int = 12) -> list[str]:
    """Split tool arguments into fragments at arbitrary positions, as vendors do."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def text_of(content: Any) -> str:
    """Return the text of a message's content, a string or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in content if isinstance(part, str | dict))


def offered(tools: Any) -> int:
    """Return the tokens of the tools' declarations."""
    return -(-len(dumps(tools)) // 4) if tools else 0


def cached_prefix(lengths: list[int]) -> int:
    """Return the tokens in a vendor's prompt cache: all but the last message, from 1,024 up, in steps of 128."""
    prefix = sum(lengths[:-1]) // 4
    return prefix // 128 * 128 if prefix >= 1024 else 0
