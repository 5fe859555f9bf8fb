"""What a chat socket sends of its user's news: only kinds that its credential could read about, and each once."""

from __future__ import annotations

from collections.abc import Iterable

from accounts.authentication import may
from accounts.models import ApiKey
from accounts.principals import Principal
from aiagents.core.live.news import Kind

# Which scope an API key needs to be sent a kind (`read` is enough for each); None: signed-in users only.
SCOPES: dict[Kind, str | None] = {
    Kind.ALERT_CHANGED: ApiKey.Scope.BILLING,
    Kind.APPROVAL_WANTED: ApiKey.Scope.AGENTS,
    Kind.APPROVAL_DECIDED: ApiKey.Scope.AGENTS,
    Kind.CONVERSATION_CHANGED: ApiKey.Scope.CHAT,
    Kind.CONVERSATION_DELETED: ApiKey.Scope.CHAT,
    Kind.CONVERSATION_TITLED: ApiKey.Scope.CHAT,
    Kind.CREDENTIAL_ENDED: None,
    Kind.NEWS_LOST: ApiKey.Scope.CHAT,
    Kind.RUN_CHANGED: ApiKey.Scope.AGENTS,
    Kind.TASK_CHANGED: ApiKey.Scope.TASKS,
}
# A client that offers this subprotocol beside `aiagents.v1` is sent news.
NEWS_PROTOCOL = "aiagents-news"
_KINDS = frozenset(kind.value for kind in Kind)
# News that wait for a client that reads slowly. More are dropped; the page reads everything again once a minute.
MOST_WAITING = 200


class Unsent:
    """The news that one socket has to send. They wait here and not in the channel layer, so that frames are still received."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str | None], None] = {}

    def add(self, principal: Principal, news: Iterable[tuple[str, str | None]]) -> None:
        """Keep what this principal may be sent. A kind of a newer process is ignored."""
        for kind, id in news:
            if kind in _KINDS and may(principal, SCOPES[Kind(kind)], safe=True) and len(self._waiting) < MOST_WAITING:
                self._waiting[kind, id] = None

    def next(self) -> dict[str, str | None] | None:
        """Take the next frame; None: nothing waits."""
        if not self._waiting:
            return None
        kind, id = key = next(iter(self._waiting))
        del self._waiting[key]
        return {"type": "news", "kind": kind, "id": id}
