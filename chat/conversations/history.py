"""Turns a branch into a prompt that fits the context window of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents import messages, token_estimates
from agents.messages import CompletionRequest
from agents.routing import connections
from agents.routing.candidates import NO_CHAT
from aiagents.core.errors import InvalidRequest, ModelNotFound
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard
from chat import content_parts
from chat.models import Message
from chat.turn_request import Ask

_CONTINUE = "Your answer was cut off. Go on exactly where it stopped: no repetition, no preface."


@dataclass(frozen=True, slots=True)
class Fitted:
    """The request, and the numbers of messages that it holds and lacks."""

    request: CompletionRequest
    sent: int
    dropped: int

    def explained(self) -> dict[str, Any]:
        return {"messages_sent": self.sent, "messages_dropped": self.dropped}


async def check_models(ask: Ask) -> None:
    """Raise ModelNotFound or InvalidRequest for a model that cannot chat, before a message is saved."""
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
    """Return a request with the newest messages that fit into the window and into MAX_PROMPT_CHARACTERS.

    Only `share` of the window is used, without `reserved` tokens. The system prompt and the question always stay.
    `unread`: older messages that are not in `branch`; they count as dropped.
    """
    prompt = [message for row in branch if (message := _prompt_message(row))]
    if carried is not None:
        prompt += [messages.Message("assistant", (messages.Text(carried.content),)), messages.Message("user", (messages.Text(_CONTINUE),))]
    window = int(await _input_window(ask) * share) - reserved
    system = CompletionRequest((), ask.system_prompt or "")
    left = window - token_estimates.estimate_input(system)
    characters = settings.MAX_PROMPT_CHARACTERS - len(system.system)
    keep = 0
    for message in reversed(prompt):
        left -= token_estimates.estimate_input(CompletionRequest((message,)))
        characters -= sum(messages.part_characters(part) for part in message.parts)
        if keep and (left < 0 or characters < 0):
            break
        keep += 1
    kept = prompt[len(prompt) - keep :]
    while len(kept) > 1 and kept[0].role == "assistant":  # no answer without its question
        kept = kept[1:]
    request = CompletionRequest(
        _joined(kept), ask.system_prompt or "", temperature=ask.temperature, max_output_tokens=ask.max_output_tokens
    )
    return Fitted(request, len(kept), len(prompt) - len(kept) + unread)


def sticky(branch: list[Message]) -> str | None:
    """Return the model that answered last in this branch."""
    return next((row.model for row in reversed(branch) if row.role == Message.Role.ASSISTANT and row.model), None)


def _prompt_message(row: Message) -> messages.Message | None:
    if row.role == Message.Role.USER and row.parts:
        return messages.Message("user", tuple(content_parts.to_model(part) for part in row.parts))
    # A turn that ended before its first token has no text.
    return messages.Message(row.role, (messages.Text(row.content),)) if row.content.strip() else None  # type: ignore[arg-type]


def _joined(prompt: list[messages.Message]) -> tuple[messages.Message, ...]:
    """Join adjacent messages of one role, because some vendors refuse two questions in a row."""
    joined: list[messages.Message] = []
    for message in prompt:
        if joined and joined[-1].role == message.role:
            joined[-1] = messages.Message(message.role, joined[-1].parts + message.parts)
        else:
            joined.append(message)
    return tuple(joined)


async def _input_window(ask: Ask) -> int:
    """Return the input tokens of the chosen model's window, or of the largest window that `auto` could choose."""
    known = await catalogue.current()
    if is_auto(ask.model):
        ready = await connections.configured()
        cards = [card for card in known.usable() if card.slug in ready and not card.embeds]
    else:
        cards = [known.get(ask.model or "")]
    return max((_window_of(card, ask.max_output_tokens) for card in cards), default=0)


def _window_of(card: ModelCard, max_output_tokens: int | None) -> int:
    reserved = min(max_output_tokens or settings.LLM_DEFAULT_MAX_OUTPUT_TOKENS, card.max_output_tokens)
    return card.context_window - reserved
