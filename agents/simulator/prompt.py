"""Vendor-neutral prompts and answers of the simulated model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.simulator.behaviour import NORMAL, Behaviour

Obj = dict[str, Any]


@dataclass(slots=True)
class Prompt:
    """`text` is the last user text without its directives; `results` are the tool results that follow it."""

    model: str
    text: str = ""
    system: str = ""
    directive: str = ""
    messages: int = 1
    tools: list[tuple[str, Obj]] = field(default_factory=list)
    tool_choice: str = "auto"
    results: list[str] = field(default_factory=list)
    json_schema: Obj | None = None
    json_mode: bool = False
    stop: list[str] = field(default_factory=list)
    max_tokens: int | None = None
    images: int = 0
    files: int = 0
    thinks: bool = False
    input_tokens: int = 0
    cached_tokens: int = 0
    behaviour: Behaviour = NORMAL


@dataclass(frozen=True, slots=True)
class Count:
    """Token counts. Totals include their parts, as in the product; each wire splits them as its vendor does."""

    input: int
    cached: int
    output: int
    reasoning: int


@dataclass(slots=True)
class Answer:
    """`finish` is one of stop, length, tool_calls, stop_sequence, content_filter."""

    pieces: list[str]
    reasoning: list[str]
    calls: list[tuple[str, str, str]]  # id, name, JSON arguments
    finish: str
    usage: Count
    stopped_by: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def tokens(text: str) -> int:
    """Return the simulated tokens of a text: four bytes are one token."""
    return -(-len(text.encode("utf-8", "replace")) // 4)
