"""The rows of a branch as a model call, fitted to the window of the model that may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents import messages, token_estimates
from agents.messages import CompletionRequest
from agents.routing import connections
from agents.routing.filters import NO_CHAT
from aiagents.core.errors import InvalidRequest, ModelNotFound
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard
from chat import content_parts
from chat.models import Message
from chat.turn_request import Ask

_CARRY_ON = "Your answer was cut off. Go on exactly where it stopped: no repetition, no preface."


@dataclass(frozen=True, slots=True)
class Fitted:
    """The request, and how much of the conversation is in it."""

    request: CompletionRequest
    sent: int
    dropped: int

    def explained(self) -> dict[str, Any]:
        return {"messages_sent": self.sent, "messages_dropped": self.dropped}


async def check_models(ask: Ask) -> None:
    """ModelNotFound for a name nobody has, before anything is saved."""
    names = [name for name in (ask.model, *ask.fallbacks) if name and not is_auto(name)]
    if names:
        known = await catalogue.current()
        for name in names:
            if not (card := known.get(name)).usable:
                raise ModelNotFound(f"The model {name[:100]!r} is not available.", param="model")
            if card.embeds:
                raise InvalidRequest(f"{card.slug} cannot chat: {NO_CHAT}.", param="model", code="model_unfit")


def is_auto(name: str | None) -> bool:
    return not name or name == "auto" or name.startswith("auto:")


async def fit(
    ask: Ask, branch: list[Message], carried: Message | None = None, reserved: int = 0, share: float = 1.0, unread: int = 0
) -> Fitted:
    """The newest exchanges that fit into `share` of the window beside `reserved` tokens, and into MAX_PROMPT_CHARACTERS.

    The system prompt and the question always stay. `unread`: older messages that are not in `branch`; they count as dropped.
    """
    told = [message for row in branch if (message := _told(row))]
    if carried is not None:
        told += [messages.Message("assistant", (messages.Text(carried.content),)), messages.Message("user", (messages.Text(_CARRY_ON),))]
    room = int(await _room(ask) * share) - reserved
    system = CompletionRequest((), ask.system_prompt or "")
    left = room - token_estimates.estimate_input(system)
    characters = settings.MAX_PROMPT_CHARACTERS - len(system.system)
    keep = 0
    for message in reversed(told):
        left -= token_estimates.estimate_input(CompletionRequest((message,)))
        characters -= sum(messages.part_characters(part) for part in message.parts)
        if keep and (left < 0 or characters < 0):
            break
        keep += 1
    kept = told[len(told) - keep :]
    while len(kept) > 1 and kept[0].role == "assistant":  # dropped whole: no answer without its question
        kept = kept[1:]
    request = CompletionRequest(
        _joined(kept), ask.system_prompt or "", temperature=ask.temperature, max_output_tokens=ask.max_output_tokens
    )
    return Fitted(request, len(kept), len(told) - len(kept) + unread)


def sticky(branch: list[Message]) -> str | None:
    """The model that answered last in this branch."""
    return next((row.model for row in reversed(branch) if row.role == Message.Role.ASSISTANT and row.model), None)


def _told(row: Message) -> messages.Message | None:
    if row.role == Message.Role.USER and row.parts:
        return messages.Message("user", tuple(content_parts.to_model(part) for part in row.parts))
    # A turn that ended before its first word leaves nothing to tell.
    return messages.Message(row.role, (messages.Text(row.content),)) if row.content.strip() else None  # type: ignore[arg-type]


def _joined(told: list[messages.Message]) -> tuple[messages.Message, ...]:
    """Roles alternate: some vendors refuse two questions in a row."""
    joined: list[messages.Message] = []
    for message in told:
        if joined and joined[-1].role == message.role:
            joined[-1] = messages.Message(message.role, joined[-1].parts + message.parts)
        else:
            joined.append(message)
    return tuple(joined)


async def _room(ask: Ask) -> int:
    """Input tokens that may be sent: of the chosen model, or of the largest that `auto` could take."""
    known = await catalogue.current()
    if is_auto(ask.model):
        ready = await connections.configured()
        cards = [card for card in known.usable() if card.slug in ready and not card.embeds]
    else:
        cards = [known.get(ask.model or "")]
    return max((_input_room(card, ask.max_output_tokens) for card in cards), default=0)


def _input_room(card: ModelCard, max_output_tokens: int | None) -> int:
    reserved = min(max_output_tokens or settings.LLM_DEFAULT_MAX_OUTPUT_TOKENS, card.max_output_tokens)
    return card.context_window - reserved
