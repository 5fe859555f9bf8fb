"""The tree of a conversation: branches and siblings; a user's own messages and conversations."""

from __future__ import annotations

from uuid import UUID

from aiagents.core.drf import page_bytes
from aiagents.core.errors import NotFound
from chat.models import Conversation, Message

# Only this many of the newest messages of a branch are read; no model's window holds more.
LONGEST_BRANCH = 5000
# Columns of a message that may be long.
LONG = ("content", "reasoning", "parts", "steps", "options", "metadata", "route", "error")


class Tree:
    """Ids and parents of all messages of one conversation, without their content."""

    def __init__(self, conversation: Conversation) -> None:
        rows = Message.objects.filter(conversation=conversation).order_by("id").values_list("id", "parent_id", "role")
        self.parents: dict[UUID, UUID | None] = {}
        self.children: dict[tuple[UUID | None, str], list[UUID]] = {}
        self.roles: dict[UUID, str] = {}
        for id, parent, role in rows:
            self.parents[id], self.roles[id] = parent, role
            self.children.setdefault((parent, role), []).append(id)

    def branch(self, leaf: UUID | None) -> list[UUID]:
        """Return the ids from the first message to `leaf`."""
        chain: list[UUID] = []
        while leaf is not None and leaf in self.parents and len(chain) < LONGEST_BRANCH:
            chain.append(leaf)
            leaf = self.parents[leaf]
        return chain[::-1]

    def siblings(self, id: UUID) -> list[UUID]:
        """Return the message and its alternatives, oldest first."""
        return self.children[self.parents[id], self.roles[id]]

    def newest_leaf(self, id: UUID) -> UUID:
        """Return the last message of the newest branch through `id`."""
        while below := self.children.get((id, Message.Role.USER), []) + self.children.get((id, Message.Role.ASSISTANT), []):
            id = max(below)
        return id


def rows_of(branch: list[UUID]) -> list[Message]:
    """The messages of a branch, in its order."""
    found = Message.objects.in_bulk(branch)
    return [found[id] for id in branch if id in found]


def sizes(ids: list[UUID]) -> dict[UUID, int]:
    """The bytes of the texts of each message. The database measures them; no text is read."""
    return dict(Message.objects.filter(id__in=ids).values_list("id", page_bytes.size(LONG)))


def own_message(user_id: UUID, message_id: UUID, role: str | None = None) -> Message:
    """Return one of the user's messages with its conversation. Raises NotFound for any other."""
    query = Message.objects.select_related("conversation").filter(conversation__user_id=user_id, conversation__deleted_at=None)
    message = query.filter(id=message_id).first()
    if message is None or (role and message.role != role):
        raise NotFound
    return message


def own_conversation(user_id: UUID, conversation_id: UUID) -> Conversation:
    conversation = Conversation.objects.select_related("leaf").filter(id=conversation_id, user_id=user_id, deleted_at=None).first()
    if conversation is None:
        raise NotFound
    return conversation
