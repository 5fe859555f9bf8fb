"""What a client may request for: the models of turn requests, one for each endpoint that starts a turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, Field, Tag

from agents.routing.candidates import GOALS
from aiagents.core import jsonio
from aiagents.core.errors import InvalidRequest
from aiagents.core.validation import Id, NotBlank, RequestModel, Whole, parse, union
from billing.money.amounts import Cost
from chat.content_parts import MOST_PARTS, MOST_TEXT, Part

__all__ = ["ConversationSettings", "EditRequest", "InvalidRequest", "RegenerateRequest", "SendRequest", "TurnRequest", "read"]
MOST_METADATA_BYTES = 8 * 1024
MOST_SYSTEM_PROMPT = 100_000
MOST_OUTPUT_TOKENS = 1_000_000
MOST_FALLBACKS = 10


@dataclass(frozen=True, slots=True)
class TurnRequest:
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
        """The options as JSON, to store with the answer for regenerate and continue."""
        kept = {name: value for name in StoredOptions.model_fields if (value := getattr(self, name)) not in (None, ())}
        if self.fallbacks:
            kept["fallbacks"] = list(self.fallbacks)
        return {name: _as_json(value) for name, value in kept.items()}

    def over(self, options: Mapping[str, Any]) -> TurnRequest:
        """The same, with the options that are missing taken from stored ones."""
        missing = [name for name in StoredOptions.model_fields if getattr(self, name) in (None, ()) and options.get(name) is not None]
        if not missing:
            return self
        stored = StoredOptions.model_validate({name: options[name] for name in missing})
        return replace(self, **{name: getattr(stored, name) for name in missing})


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, UUID | Decimal) else value


class _Content(NamedTuple):
    """The texts of a message, and its parts as they are stored if it has more than texts."""

    text: str
    parts: tuple[dict[str, Any], ...] = ()


def _of_parts(parts: list[Part]) -> _Content:
    stored = tuple(part.stored() for part in parts)
    texts = [part["text"] for part in stored if part["type"] == "text"]
    text = "\n\n".join(texts)
    if len(text) > MOST_TEXT:
        raise ValueError(f"Must have at most {MOST_TEXT} characters of text.")
    if len(texts) < len(stored):
        return _Content(text, stored)
    return _Content(NotBlank.check(text))


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    # A member takes at least five bytes, so that a large object is refused before it is written.
    if len(metadata) * 5 > MOST_METADATA_BYTES or len(jsonio.dumps(metadata)) > MOST_METADATA_BYTES:
        raise ValueError(f"Must have at most {MOST_METADATA_BYTES} bytes as JSON.")
    return metadata


def _shape(content: Any) -> str | None:
    return "text" if isinstance(content, str) else "parts" if isinstance(content, list) else None


_Text = Annotated[str, Field(max_length=MOST_TEXT), NotBlank(), AfterValidator(_Content)]
_Parts = Annotated[list[Part], Field(min_length=1, max_length=MOST_PARTS, fail_fast=True), AfterValidator(_of_parts)]
_ModelId = Annotated[str, Field(max_length=100), NotBlank()]
_Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
_OutputTokens = Annotated[int, Field(ge=1, le=MOST_OUTPUT_TOKENS), Whole]
_Fallbacks = Annotated[tuple[_ModelId, ...], Field(strict=False, max_length=MOST_FALLBACKS, fail_fast=True)]
if TYPE_CHECKING:
    _Goal = str
else:
    _Goal = Literal[GOALS]


class ConversationSettings(RequestModel):
    """A conversation's defaults for its turns. null removes one."""

    model: _ModelId | None = Field(None, description="`auto`, `auto:goal` or a model id")
    goal: _Goal | None = None
    agent_id: Id | None = Field(
        None,
        description=(
            "The agent that answers. Its model, goal, tools and limits hold; what it leaves open (`auto`, no goal) the request decides. "
            "`system_prompt` is added after the agent's; `temperature` and `max_output_tokens` replace the agent's; of two "
            "`max_cost_usd` the smaller holds."
        ),
    )
    system_prompt: str | None = Field(None, max_length=MOST_SYSTEM_PROMPT)
    temperature: float | None = Field(None, ge=0, le=2)
    max_output_tokens: _OutputTokens | None = None

    def stored(self) -> dict[str, Any]:
        """The given fields as JSON; None for one to remove."""
        return {name: _as_json(getattr(self, name)) for name in self.model_fields_set}


class StoredOptions(ConversationSettings):
    """How a turn is answered, as far as it is stored with the answer. null is as if the field were absent."""

    max_cost_usd: Cost | None = Field(None, description="US dollars")
    fallbacks: _Fallbacks | None = Field(None, description="models that are tried in this order if the first cannot answer")


class TurnOptions(StoredOptions):
    """How a turn is answered."""

    metadata: _Metadata | None = Field(None, description=f"at most {MOST_METADATA_BYTES} bytes as JSON")

    def turn_request(self) -> TurnRequest:
        """The turn to start."""
        return TurnRequest(**self._given())

    def _given(self) -> dict[str, Any]:
        return {name: value for name in self.model_fields_set if (value := getattr(self, name)) is not None}


class RegenerateRequest(TurnOptions):
    """Another answer to the same question."""

    carry_on: bool | None = Field(None, alias="continue", description="begin with the text that is there and go on from it")


class EditRequest(TurnOptions):
    """Another question beside the first, with its answer."""

    content: Annotated[Annotated[_Text, Tag("text")] | Annotated[_Parts, Tag("parts")], union(_shape, "Must be a text or a list of parts.")]

    def turn_request(self) -> TurnRequest:
        given = self._given()
        content = given.pop("content")
        return TurnRequest(content.text, content.parts, **given)


class SendRequest(EditRequest):
    """A question, with its place in a conversation."""

    conversation_id: Id | None = Field(None, description="a new conversation if absent")
    parent_id: Id | None = Field(None, description="the answer that the question follows; the newest if absent")


def read(body: Any, model: type[TurnOptions] = SendRequest) -> TurnRequest:
    """The turn that a client's JSON value describes. Raises InvalidRequest, which names every wrong field."""
    return parse(model, body).turn_request()
