"""Viewers that have seen more of a turn than is stored, because its process died before its last events were logged."""

from __future__ import annotations

from agents.events import Rewound
from chat.models import Message


def by_row(answer: Message, after: int) -> Rewound | None:
    """Return what is stored of an ended turn for a viewer that has seen event `after`; None if nothing was lost.

    Only a turn that was interrupted can have lost events. Its end may carry the seq of one of them, so a viewer that names
    that seq is rewound, too.
    """
    end = max(answer.last_seq, 1)
    if answer.status != Message.Status.INTERRUPTED or after < end:
        return None
    return Rewound(end - 1, len(answer.content), len(answer.reasoning), len(answer.steps))


def by_row_or_log(answer: Message, logged: Rewound, after: int) -> Rewound | None:
    """Return what is stored of a turn whose row may have more than its log: the row follows each second, the log may have stalled."""
    if answer.status not in Message.RUNNING:
        return by_row(answer, after)
    if answer.last_seq >= after:
        return None
    if answer.last_seq <= logged.seq:
        return logged
    return Rewound(answer.last_seq, len(answer.content), len(answer.reasoning), max(len(answer.steps), logged.steps))
