"""Lets a cheap model write a conversation's title after its first answer. No failure of it affects the turn."""

from __future__ import annotations

import logging
from decimal import Decimal
from uuid import UUID

from accounts.authentication import Principal
from agents import messages
from agents.calls import service as calls
from agents.calls import whole
from agents.messages import CompletionRequest
from aiagents.core import jsonio
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError
from aiagents.core.ids import uuid7
from aiagents.core.live import news
from chat.models import Conversation, Message

logger = logging.getLogger(__name__)
_SYSTEM = "Give this conversation a title of two to six words, in its language. Answer with the title alone."
_MOST_COST = Decimal("0.005")
_MOST_CHARACTERS = 80
# Characters of question and answer in the prompt, and of the model's text that are read.
_QUESTION, _ANSWER, _MOST_READ = 1500, 500, 2000


async def give(principal: Principal, question: Message, answer: Message, *, surface: str, request_id: str) -> None:
    """Replace the title by a model's, charged to the user as `title`. On a failure the first words stay."""
    text = prompt(question.content, answer.content)
    request = CompletionRequest((messages.Message("user", (messages.Text(text),)),), _SYSTEM, max_output_tokens=24)
    context = calls.CallContext(
        principal=principal, purpose="title", surface=surface, request_id=request_id, group_id=uuid7(), requested_model="auto",
        goal="cheapest", max_cost_usd=_MOST_COST, conversation_id=answer.conversation_id,
    )  # fmt: skip
    try:
        completion = await whole.complete(request, context)
        if title := tidy(completion.text):
            await in_db(_save, principal.user_id, answer.conversation_id, title)
    except AppError as exc:
        logger.info("no_title", extra={"conversation_id": str(answer.conversation_id), "code": exc.code})
    except Exception:
        logger.exception("title_failed", extra={"conversation_id": str(answer.conversation_id)})


def prompt(question: str, answer: str) -> str:
    """Return the prompt for a title: the beginning of question and answer."""
    return f"{question[:_QUESTION]}\n\nThe answer to this began so:\n{answer[:_ANSWER]}"


def tidy(text: str) -> str:
    """Return a model's text as one plain line, read only from its beginning."""
    lines = [line for line in jsonio.clean_text(text[:_MOST_READ]).splitlines() if line.strip()]
    title = "".join(c for c in " ".join(lines[0].split()) if c.isprintable()) if lines else ""
    return title.strip("\"'`*#_ ").rstrip(".")[:_MOST_CHARACTERS].strip()


def _save(user_id: UUID, conversation_id: UUID, title: str) -> None:
    if Conversation.objects.filter(id=conversation_id, title_is_set=False).update(title=title):
        news.send(user_id, news.Kind.CONVERSATION_TITLED, conversation_id)
