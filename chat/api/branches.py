"""The chosen branch of a conversation, page by page."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from aiagents.core.drf import page_bytes
from aiagents.core.errors import InvalidRequest
from chat.conversations import as_json as message_json
from chat.conversations.tree import Tree, rows_of, sizes
from chat.models import Conversation, Message

_PAGE_SIZE = _MOST = 100
# Bytes of the texts of one page, which has at least one message. A message with attachments may have twelve million.
MOST_BYTES = 16 * 1024 * 1024


class BranchPage:
    """A page of the branch, from the first message to the leaf. A cursor is a position; branches grow only at their end."""

    def __init__(self, conversation: Conversation, request: Request) -> None:
        self.request = request
        self.tree = Tree(conversation)
        self.branch = self.tree.branch(conversation.leaf_id)
        self.size = self._number("page_size", _PAGE_SIZE)
        if not 1 <= self.size <= _MOST:
            raise InvalidRequest(f"page_size must be a number from 1 to {_MOST}.", param="page_size")
        self.start = self._number("cursor", 0)

    def answer(self) -> dict[str, Any]:
        end = self._end()
        return {
            "next": self._url(end) if end < len(self.branch) else None,
            "previous": self._url(max(0, self.start - self.size)) if self.start > 0 else None,
            "results": [self._encoded(message) for message in rows_of(self.branch[self.start : end])],
        }

    def _end(self) -> int:
        """Return the end of the page: after `page_size` messages, or before the message that exceeds MOST_BYTES."""
        ids = self.branch[self.start : self.start + self.size]
        bytes_ = sizes(ids)
        count = page_bytes.fitting((bytes_.get(id, 0) for id in ids), MOST_BYTES)
        return self.start + (self.size if count == len(ids) else count)

    def _encoded(self, message: Message) -> dict[str, Any]:
        siblings = self.tree.siblings(message.id)
        return {**message_json.listed(message), "siblings": [str(id) for id in siblings], "sibling_index": siblings.index(message.id)}

    def _number(self, name: str, default: int) -> int:
        given = self.request.query_params.get(name, "")
        if not given:
            return default
        if not (given.isascii() and given.isdecimal() and len(given) < 10):
            raise InvalidRequest(f"{name} is not valid.", param=name)
        return int(given)

    def _url(self, start: int) -> str:
        query = self.request.query_params.copy()
        query["cursor"] = str(start)
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")
