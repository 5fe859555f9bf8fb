"""A turn in the database: opened in one transaction, kept up to date, ended exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.models import User
from agents.definitions.definition import Definition
from aiagents.core.errors import Conflict, NotFound, RateLimited
from aiagents.core.live import news
from aiagents.core.logs import context
from chat.conversations import history
from chat.conversations.tree import Tree, own_conversation, own_message
from chat.models import Conversation, Message
from chat.turn_request import TurnRequest
from chat.turns import agent_partner, costs

# A running message whose process has been silent this long is interrupted. Seconds.
SILENCE_SECONDS = 20
_TITLE_CHARACTERS = 60
# Characters of a question that are read for a title.
_TITLE_READ = 2000
# The database's clock, not ours: two hosts may be a minute apart.
_PROGRESS = {
    "postgresql": """
        UPDATE chat_message SET content = %s, reasoning = %s, last_seq = %s, status = %s, heartbeat_at = STATEMENT_TIMESTAMP()
        WHERE id = %s AND status IN ('pending', 'streaming')""",
    "sqlite": """
        UPDATE chat_message SET content = %s, reasoning = %s, last_seq = %s, status = %s,
        heartbeat_at = STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW') WHERE id = %s AND status IN ('pending', 'streaming')""",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A turn as the database has it before the first byte goes to a vendor."""

    request: TurnRequest
    answer: Message
    question: Message
    # From the first message to the question.
    branch: list[Message]
    # The answer whose text is continued.
    carried: Message | None
    wants_title: bool
    # The agent that answers, if it is not a model alone.
    agent: Definition | None = None
    # Older messages of the branch that no call could take.
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """What `open_turn` would start: the branch that it would send, the agent, and the number of older messages left out."""

    request: TurnRequest
    branch: list[Message]
    agent: Definition | None
    unread: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a running turn has produced so far."""

    id: UUID
    content: str
    reasoning: str
    last_seq: int
    started: bool


def place(user_id: UUID, request: TurnRequest) -> tuple[Conversation | None, Message | None, Message | None]:
    """Return a turn's conversation (None: a new one), its parent message, and its question if it exists (regenerate).

    Raises NotFound for messages of other users, Conflict if the parent cannot have a question.
    """
    if request.regenerate_of:
        answer = own_message(user_id, request.regenerate_of, Message.Role.ASSISTANT)
        return answer.conversation, answer, answer.parent
    if request.edit_of:
        question = own_message(user_id, request.edit_of, Message.Role.USER)
        return question.conversation, question.parent, None
    if request.conversation_id is None:
        if request.parent_id is None:
            return None, None, None
        parent = own_message(user_id, request.parent_id)
        return parent.conversation, _answerable(parent), None
    conversation = own_conversation(user_id, request.conversation_id)
    if request.parent_id is not None:
        above = Message.objects.filter(id=request.parent_id, conversation=conversation).first()
        if above is None:
            raise NotFound
        return conversation, _answerable(above), None
    leaf = conversation.leaf
    if leaf is not None and leaf.status in Message.RUNNING:
        # Another tab's turn is running: the new question becomes a sibling of its question.
        leaf = leaf.parent.parent if leaf.parent else None
    return conversation, leaf, None


def _answerable(parent: Message) -> Message:
    if parent.role != Message.Role.ASSISTANT:
        raise Conflict("A question follows an answer; to change a question use edit.", code="parent_is_a_question", param="parent_id")
    if parent.status in Message.RUNNING:
        raise Conflict("The answer above is still being written.", code="parent_is_running", param="parent_id", retry_after=2)
    return parent


def open_turn(user: User, request: TurnRequest, with_answer: Callable[[UUID], None] | None = None) -> Opened:
    """Save the question and the empty answer and move the conversation to them, in one transaction (with `with_answer`)."""
    with transaction.atomic():
        conversation, above, question = place(user.id, request)
        replaced = above if request.regenerate_of else None
        if replaced is not None:
            if question is None:
                raise Conflict("There is no question above this answer.")
            if replaced.status in Message.RUNNING:
                raise Conflict("The answer is still being written.", code="answer_is_running", retry_after=2)
            request = request.over(replaced.options)
        fresh = conversation is None
        if conversation is None:
            conversation = Conversation(user=user, settings={name: value for name, value in request.options().items() if name in _KEPT})
            conversation.title = first_words(request.content)
        wish = request.over(conversation.settings)
        request, agent = _answered_by(user, wish)
        new = []
        if question is None:
            question = Message(conversation=conversation, parent=above, role=Message.Role.USER, content=request.content)
            question.parts, question.metadata = list(request.parts), request.metadata
            question.request_id = context.request_id.get()
            new.append(question)
        answer = Message(conversation=conversation, parent=question, role=Message.Role.ASSISTANT, status=Message.Status.PENDING)
        answer.writer_for, answer.request_id = user.id, context.request_id.get()
        answer.options, answer.heartbeat_at = agent_partner.options(wish, agent) if agent else request.options(), Now()
        # Before its messages, which the database checks at commit: the row's lock keeps a deletion from coming between.
        if fresh:
            conversation.leaf_id, conversation.updated_at = answer.id, answer.created_at
            conversation.save(force_insert=True)
        elif not Conversation.objects.filter(id=conversation.id, deleted_at=None).update(leaf=answer, updated_at=answer.created_at):
            raise NotFound
        Message.objects.bulk_create([*new, answer])
        news.send(user.id, news.Kind.CONVERSATION_CHANGED, conversation.id)
        answer.heartbeat_at = None  # the database knows it
        if with_answer is not None:
            with_answer(answer.id)
        above_ids = [] if fresh or question.parent_id is None else Tree(conversation).branch(question.parent_id)
        above_it = history.read_branch(above_ids)
        branch = [*above_it, question]
        _refuse_beyond_the_maximum(user)
    carried = replaced if request.carry_on and replaced is not None and replaced.content else None
    wants_title = settings.CHAT_TITLES and not conversation.title_is_set and not above_ids and replaced is None
    return Opened(request, answer, question, branch, carried, wants_title, agent, len(above_ids) - len(above_it))


def _refuse_beyond_the_maximum(user: User) -> None:
    """Raise RateLimited if the user has too many running answers, the new one included; the transaction then undoes it.

    The last step before the commit: turns of one user that begin at the same time wait for each other only from here on.
    """
    if _lock_and_count(user.id) > settings.MAX_CONCURRENT_TURNS_PER_USER:
        raise RateLimited("Too many answers are being written for you; wait for one to end.", code="too_many_turns", retry_after=2)


def _lock_and_count(user_id: UUID) -> int:
    """Return how many answers are being written for the user, whose row is locked until the transaction ends.

    Both statements go to PostgreSQL together, since every turn needs them. The second sees what was committed while the first waited.
    On SQLite a transaction that writes is alone anyway.
    """
    if connection.vendor != "postgresql":
        return Message.objects.filter(status__in=Message.RUNNING, writer_for=user_id).count()
    with connection.cursor() as cursor:
        cursor.execute(LOCK_AND_COUNT, [user_id, user_id])
        cursor.nextset()
        return int(cursor.fetchone()[0])


LOCK_AND_COUNT = """
    SELECT 1 FROM accounts_user WHERE id = %s FOR NO KEY UPDATE;
    SELECT COUNT(*) FROM chat_message WHERE status IN ('pending', 'streaming') AND writer_for = %s"""


def plan(user: User, request: TurnRequest) -> Planned:
    """Return the turn as `open_turn` would begin it; nothing is saved."""
    conversation, above, _ = place(user.id, request)
    question = Message(role=Message.Role.USER, content=request.content, parts=list(request.parts))
    above_ids = Tree(conversation).branch(above.id) if conversation and above else []
    above_it = history.read_branch(above_ids)
    request = request.over(conversation.settings) if conversation else request
    request, agent = _answered_by(user, request)
    return Planned(request, [*above_it, question], agent, len(above_ids) - len(above_it))


def _answered_by(user: User, request: TurnRequest) -> tuple[TurnRequest, Definition | None]:
    """Return the request with nothing left open, and the agent that it names, if any."""
    if request.agent_id is None:
        return replace(request, model=request.model or user.default_model, goal=request.goal or user.goal), None
    return agent_partner.answered_by(user, request)


# The settings of the first request that the new conversation keeps.
_KEPT = ("model", "goal", "agent_id", "system_prompt", "temperature", "max_output_tokens")


def first_words(text: str) -> str:
    """Return the first words of a question, as a title until there is a better one."""
    line = " ".join(text.lstrip()[:_TITLE_READ].split())
    if len(line) <= _TITLE_CHARACTERS:
        return line
    return line[:_TITLE_CHARACTERS].rsplit(" ", 1)[0].rstrip(",.;:") + "…"


def progress(written: list[Written]) -> None:
    """Write partial texts and heartbeats of all running turns of a process in one batch and one round trip.

    The rows are in the order of their ids, so that two processes never wait for each other crosswise.
    """
    id_of = Message._meta.pk.get_db_prep_value
    values = [
        (one.content, one.reasoning, max(0, one.last_seq), "streaming" if one.started else "pending", id_of(one.id, connection))
        for one in sorted(written, key=lambda one: one.id)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(_PROGRESS[connection.vendor], values)


def finish(answer: Message, *, from_usage_log: bool) -> Message:
    """Write the end of a turn, once: a second caller gets the row as the first left it.

    `from_usage_log`: the turn may not have seen its last receipt, so it costs what the usage log says.
    """
    if from_usage_log:
        costs.fill(answer)
    fields = {name: getattr(answer, name) for name in _ENDING}
    if Message.objects.filter(id=answer.id, status__in=Message.RUNNING).update(**fields):
        return answer
    return Message.objects.filter(id=answer.id).first() or answer


_ENDING = (
    "status", "content", "reasoning", "steps", "model", "provider", "finish_reason", "error", "route", "options", "input_tokens",
    "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "latency_ms", "ttft_ms", "simulated", "last_seq", "ended_at",
)  # fmt: skip


def silent(message_id: UUID | None = None) -> QuerySet[Message]:
    """Return the running messages without a recent heartbeat (or that one, if it is among them)."""
    query = Message.objects.filter(status__in=Message.RUNNING, heartbeat_at__lt=Now() - timedelta(seconds=SILENCE_SECONDS))
    return query.filter(id=message_id) if message_id else query


def interrupt(answer: Message) -> bool:
    """Write the end that the sweeper found; return False if the turn had a heartbeat or ended meanwhile."""
    costs.fill(answer)
    return bool(silent(answer.id).update(**{name: getattr(answer, name) for name in _ENDING}))
