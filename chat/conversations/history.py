"""Reads the messages of a branch and turns them into a prompt that fits the context window of the model.

Ended messages never change, so they are cached: in this process, and behind it in Valkey.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypedDict
from uuid import UUID

import orjson
from django.conf import settings
from django.db.models import F, Sum, TextField, Window
from django.db.models.functions import Cast, Greatest, Length

from agents import messages
from agents.messages import CompletionRequest
from agents.routing import connections
from agents.routing.candidates import HELD_OUTPUT
from agents.routing.removal import EMBEDDINGS_ONLY
from aiagents.core.errors import InvalidRequest, ModelNotFound
from aiagents.core.valkey.cache import Layered
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard
from chat import content_parts
from chat.models import Message
from chat.turn_request import TurnRequest

_CONTINUE = "Your answer was cut off. Go on exactly where it stopped: no repetition, no preface."
# The fields of a message that a prompt needs.
_FIELDS = ("id", "role", "status", "content", "parts", "model", "cached_input_tokens")
# Larger messages, such as those with images, are not cached.
_MOST_BYTES = 256 * 1024
# Messages per lookup: the first time, and at most.
_FIRST_READ, _MOST_READ = 32, 128


@dataclass(frozen=True, slots=True)
class Fitted:
    """The request, and the numbers of messages that it holds and lacks."""

    request: CompletionRequest
    sent: int
    dropped: int

    def explained(self) -> dict[str, int]:
        return {"messages_sent": self.sent, "messages_dropped": self.dropped}


async def check_models(request: TurnRequest) -> None:
    """Raise ModelNotFound or InvalidRequest for a model that cannot chat, before a message is saved."""
    names = [name for name in (request.model, *request.fallbacks) if name and not is_auto(name)]
    if names:
        known = await catalogue.current()
        for name in names:
            if not (card := known.get(name)).usable:
                raise ModelNotFound(f"The model {name[:100]!r} is not available.", param="model")
            if card.embeds:
                raise InvalidRequest(f"{card.slug} cannot chat: {EMBEDDINGS_ONLY}.", param="model", code="model_unfit")


def is_auto(name: str | None) -> bool:
    return not name or name == "auto" or name.startswith("auto:")


async def fit(
    request: TurnRequest, branch: list[Message], carried: Message | None = None, reserved: int = 0, share: float = 1.0, unread: int = 0
) -> Fitted:
    """Return a request with the newest messages that fit into the window and into MAX_PROMPT_CHARACTERS.

    Only `share` of the window is used, without `reserved` tokens. The system prompt and the question always stay.
    `unread`: older messages that are not in `branch`; they count as dropped.
    """
    prompt = [message for row in branch if (message := _prompt_message(row))]
    if carried is not None:
        prompt += [messages.Message("assistant", (messages.Text(carried.content),)), messages.Message("user", (messages.Text(_CONTINUE),))]
    window = int(await _input_window(request) * share) - reserved
    system = CompletionRequest((), request.system_prompt or "")
    left = window - messages.estimate_input(system)
    characters = settings.MAX_PROMPT_CHARACTERS - len(system.system)
    keep = 0
    for message in reversed(prompt):
        left -= messages.estimate_input(CompletionRequest((message,)))
        characters -= sum(messages.part_characters(part) for part in message.parts)
        if keep and (left < 0 or characters < 0):
            break
        keep += 1
    kept = prompt[len(prompt) - keep :]
    while len(kept) > 1 and kept[0].role == "assistant":  # no answer without its question
        kept = kept[1:]
    fitted = CompletionRequest(
        _joined(kept), request.system_prompt or "", temperature=request.temperature, max_output_tokens=request.max_output_tokens
    )
    return Fitted(fitted, len(kept), len(prompt) - len(kept) + unread)


class LastAnswer(TypedDict):
    """The model that answered last in a branch, and the input tokens that it reported as cached then."""

    sticky: str | None
    cached_tokens: int


def last_answer(branch: list[Message]) -> LastAnswer:
    """Return what routing uses of the last answer in this branch."""
    row = next((row for row in reversed(branch) if row.role == Message.Role.ASSISTANT and row.model), None)
    return {"sticky": row.model if row else None, "cached_tokens": row.cached_input_tokens if row else 0}


def _prompt_message(row: Message) -> messages.Message | None:
    if row.role == Message.Role.USER and row.parts:
        return messages.Message("user", tuple(content_parts.to_model(part) for part in row.parts))
    # A turn that ended before its first token has no text.
    return messages.Message(row.role, (messages.Text(row.content),)) if row.content.strip() else None  # type: ignore[arg-type]  # a stored role is one of the literals


def _joined(prompt: list[messages.Message]) -> tuple[messages.Message, ...]:
    """Join adjacent messages of one role, because some vendors refuse two questions in a row."""
    joined: list[messages.Message] = []
    for message in prompt:
        if joined and joined[-1].role == message.role:
            joined[-1] = messages.Message(message.role, joined[-1].parts + message.parts)
        else:
            joined.append(message)
    return tuple(joined)


async def _input_window(request: TurnRequest) -> int:
    """Return the input tokens of the chosen model's window, or of the largest window that `auto` could choose."""
    known = await catalogue.current()
    if is_auto(request.model):
        ready = await connections.configured()
        cards = [card for card in known.usable() if card.slug in ready and not card.embeds]
    else:
        cards = [known.get(request.model or "")]
    return max((_window_of(card, request.max_output_tokens) for card in cards), default=0)


def _window_of(card: ModelCard, max_output_tokens: int | None) -> int:
    reserved = min(max_output_tokens or HELD_OUTPUT, card.max_output_tokens)
    return card.context_window - reserved


def _dump(message: Message) -> bytes | None:
    if message.status in Message.RUNNING:
        return None  # it still changes
    raw = orjson.dumps([getattr(message, name) for name in _FIELDS])
    return raw if len(raw) <= _MOST_BYTES else None


def _load(raw: bytes) -> Message:
    values = dict(zip(_FIELDS, orjson.loads(raw), strict=True))
    return Message(**values | {"id": UUID(values["id"])})


# The name changes with the fields: processes of the earlier version read their own entries.
message_cache: Layered[UUID, Message] = Layered(
    "messages-2", seconds=300, most_bytes=32 * 1024 * 1024, shared_seconds=1800, dump=_dump, load=_load
)  # fmt: skip


def read_branch(ids: list[UUID]) -> list[Message]:
    """Return the newest messages of a branch, oldest first, with at most MAX_PROMPT_CHARACTERS together.

    They have only the fields that a prompt needs. They are shared, so never change them. Messages beyond the limit are not
    read. This checks no permissions: tree.py checks the owner in the database before each use.
    """
    left, end, step = settings.MAX_PROMPT_CHARACTERS, len(ids), _FIRST_READ
    newest: list[Message] = []
    while end > 0:
        some = ids[max(0, end - step) : end]
        found = message_cache.many(some, partial(_read, left))
        for id in reversed(some):
            message = found.get(id)
            if message is None or (left := left - _characters(message)) < 0:
                return newest[::-1]
            newest.append(message)
        end, step = end - len(some), min(2 * step, _MOST_READ)
    return newest[::-1]


def _characters(message: Message) -> int:
    parts = sum(len(value) for part in message.parts for value in part.values() if isinstance(value, str))
    return max(len(message.content), parts)


def _read(most: int, ids: list[UUID]) -> dict[UUID, Message]:
    """Return the newest of the messages with at most `most` characters together. Ids begin with their time."""
    size = Greatest(Length("content"), Length(Cast("parts", TextField())))  # of parts, the content repeats the text
    rows = Message.objects.filter(id__in=ids).annotate(size=Window(Sum(size), order_by=F("id").desc()))
    return {message.id: message for message in rows.filter(size__lte=most).only(*_FIELDS)}


def forget(ids: list[UUID]) -> None:
    """Drop deleted messages in this process and in Valkey. Raises Valkey's errors."""
    message_cache.drop(ids)


def forget_here(ids: list[UUID]) -> None:
    """Drop deleted messages in this process."""
    message_cache.drop_here(ids)
