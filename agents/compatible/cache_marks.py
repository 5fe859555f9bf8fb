"""`cache_control` in the dialects of OpenAI: clients that were written for Claude mark what its vendor is to cache.

Anthropic takes at most four marks. One for each of the tools, the system prompt and the conversation covers all that a
client marks there. Other vendors cache without marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.compatible import reading
from agents.messages import Cached

_TTLS = (None, "5m", "1h")


@dataclass(frozen=True, slots=True)
class Marks:
    """The marked parts of a prompt, and whether a mark is for the one-hour cache."""

    parts: frozenset[Cached] = frozenset()
    long: bool = False


def read(body: Mapping[str, Any]) -> Marks:
    """Return the marks of a chat completion. Raises InvalidRequest for a duration that has no price."""
    found: dict[Cached, set[object]] = {}
    for part, mark in _marks(body):
        found.setdefault(part, set()).add(mark.get("ttl"))
    durations = set().union(*found.values())
    if not durations <= set(_TTLS):
        raise reading.unsupported_parameter("cache_control.ttl", "only 5m and 1h have a price")
    return Marks(frozenset(found), "1h" in durations)


def _marks(body: Mapping[str, Any]) -> Iterator[tuple[Cached, Mapping[str, Any]]]:
    for tool in _objects(body.get("tools")):
        yield from _of(tool, "tools")
        yield from _of(tool.get("function"), "tools")
    for message in _objects(body.get("messages")):
        part: Cached = "system" if message.get("role") in ("system", "developer") else "conversation"
        yield from _of(message, part)
        for block in _objects(message.get("content")):
            yield from _of(block, part)


def _of(value: object, part: Cached) -> Iterator[tuple[Cached, Mapping[str, Any]]]:
    if isinstance(value, Mapping) and isinstance(mark := value.get("cache_control"), Mapping):
        yield part, mark


def _objects(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else ()
