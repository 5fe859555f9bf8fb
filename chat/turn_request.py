"""What a client may ask for: one strict reader for REST, SSE and WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from agents.routing.candidates import GOALS
from aiagents.core import jsonio
from aiagents.core.errors import InvalidRequest
from billing.money.amounts import read_cost
from chat import content_parts as parts

MOST_METADATA_BYTES = 8 * 1024
MOST_SYSTEM_PROMPT = 100_000
MOST_OUTPUT_TOKENS = 1_000_000
MOST_FALLBACKS = 10


@dataclass(frozen=True, slots=True)
class Ask:
    """One wish for a turn, already checked. `None` means: as the conversation, then the user, has it."""

    content: str = ""
    parts: tuple[dict[str, Any], ...] = ()
    conversation_id: UUID | None = None
    parent_id: UUID | None = None
    model: str | None = None
    goal: str | None = None
    agent_id: UUID | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    max_cost_usd: Decimal | None = None
    fallbacks: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    # Exactly one may be set: a new answer to the same question, or a new question beside this one.
    regenerate_of: UUID | None = None
    edit_of: UUID | None = None
    # With `regenerate_of`: begin with the text that is there and go on from it.
    carry_on: bool = False

    def options(self) -> dict[str, Any]:
        """What is worth keeping of it on the answer, for regenerate and continue."""
        names = ("model", "goal", "agent_id", "system_prompt", "temperature", "max_output_tokens", "max_cost_usd")
        kept = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.fallbacks:
            kept["fallbacks"] = list(self.fallbacks)
        return {name: str(value) if isinstance(value, UUID | Decimal) else value for name, value in kept.items()}

    def over(self, options: dict[str, Any]) -> Ask:
        """The same, with what was not said taken from stored `options`."""
        unsaid = [name for name in STORED if getattr(self, name) in (None, ()) and options.get(name) is not None]
        missing = {name: STORED[name](options[name]) for name in unsaid}
        return replace(self, **missing) if missing else self


def read(body: dict[str, Any], *, content: bool = True, allowed: frozenset[str] | None = None) -> Ask:
    """The ask in a client's JSON object. `InvalidRequest` names every field that is wrong."""
    found: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {}
    for name, value in body.items():
        reader = _READERS.get(name)
        if reader is None or (allowed is not None and name not in allowed):
            wrong[name[:100]] = ["Unknown field."]
        elif value is not None:
            try:
                found |= _content(value) if name == "content" else {_RENAMED.get(name, name): reader(value)}
            except ValueError as exc:
                wrong[name] = [str(exc) or "Not valid."]
    if content and "content" not in found and "content" not in wrong:
        wrong["content"] = ["This field is required."]
    if wrong:
        first = next(iter(wrong))
        raise InvalidRequest(f"{first}: {wrong[first][0]}", param=first, details=wrong)
    return Ask(**found)


def _content(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("Say something.")
        if len(value) > parts.MOST_TEXT:
            raise ValueError(f"At most {parts.MOST_TEXT} characters.")
        return {"content": value}
    if not isinstance(value, list) or not value:
        raise ValueError("A text, or a list of parts.")
    if len(value) > parts.MOST_PARTS:
        raise ValueError(f"At most {parts.MOST_PARTS} parts.")
    checked = tuple(parts.check(part) for part in value)
    text = "\n\n".join(part["text"] for part in checked if part["type"] == "text")
    if len(text) > parts.MOST_TEXT:
        raise ValueError(f"At most {parts.MOST_TEXT} characters.")
    if not text.strip() and all(part["type"] == "text" for part in checked):
        raise ValueError("Say something.")
    return {"content": text, "parts": () if all(part["type"] == "text" for part in checked) else checked}


def _uuid(value: Any) -> UUID:
    if not isinstance(value, str) or len(value) > 45:
        raise ValueError("A UUID.")
    try:
        return UUID(value)
    except ValueError as exc:
        raise ValueError("A UUID.") from exc


def _text(most: int, *, empty: bool = True) -> Callable[[Any], str]:
    def reader(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or not (empty or value.strip()):
            raise ValueError(f"A text of at most {most} characters.")
        return value

    return reader


def _goal(value: Any) -> str:
    if value not in GOALS:
        raise ValueError(f"One of {', '.join(GOALS)}.")
    return value


def _temperature(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise ValueError("A number from 0 to 2.")
    return float(value)


def _output_tokens(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():  # to JSON Schema 5.0 is a whole number
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_OUTPUT_TOKENS:
        raise ValueError(f"A whole number from 1 to {MOST_OUTPUT_TOKENS}.")
    return value


def _fallbacks(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_FALLBACKS:
        raise ValueError(f"A list of at most {MOST_FALLBACKS} model ids.")
    return tuple(_MODEL(item) for item in value)


def _metadata(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and len(jsonio.dumps(value)) <= MOST_METADATA_BYTES:
        return value
    raise ValueError(f"An object of at most {MOST_METADATA_BYTES} bytes.")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false.")
    return value


_MODEL = _text(100, empty=False)
_READERS: dict[str, Callable[[Any], Any]] = {
    "content": _content,
    "conversation_id": _uuid,
    "parent_id": _uuid,
    "model": _MODEL,
    "goal": _goal,
    "agent_id": _uuid,
    "system_prompt": _text(MOST_SYSTEM_PROMPT),
    "temperature": _temperature,
    "max_output_tokens": _output_tokens,
    "max_cost_usd": read_cost,
    "fallbacks": _fallbacks,
    "metadata": _metadata,
    "continue": _flag,
}
_RENAMED = {"continue": "carry_on"}
# How a turn is asked for, apart from what is asked: kept with the answer and with the conversation.
STORED = {
    name: _READERS[name]
    for name in ("model", "goal", "agent_id", "system_prompt", "temperature", "max_output_tokens", "max_cost_usd", "fallbacks")
}
SEND = frozenset(_READERS) - {"continue"}
EDIT = SEND - {"conversation_id", "parent_id"}
REGENERATE = frozenset(_READERS) - {"content", "conversation_id", "parent_id"}
SETTINGS = frozenset({"model", "goal", "agent_id", "system_prompt", "temperature", "max_output_tokens"})
