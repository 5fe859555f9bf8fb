"""The periodic sweep: the end of a turn whose process is gone is read from its log, or else written as interrupted."""

from __future__ import annotations

from typing import Any

import orjson
from django.utils import timezone

from agents.recorded import Recorded, add_up
from aiagents.core.errors import Unavailable
from aiagents.core.live import outage_heartbeat
from aiagents.core.metrics import counters as metrics
from aiagents.core.stored_errors import to_store
from aiagents.core.valkey.clients import AWAY
from chat.conversations import as_json as message_json
from chat.models import Message
from chat.turns import costs
from chat.turns import store as turn_store
from chat.turns.stored import event_log

_MESSAGE = "The process that wrote this answer is gone; its text is kept."
_AS_SENT = (
    "status", "content", "reasoning", "steps", "model", "provider", "finish_reason", "latency_ms", "ttft_ms", "route", "error", "simulated",
)  # fmt: skip


def sweep() -> int:
    """End the turns whose process is gone and return their number. Their text is kept: the longer of the row's and the log's."""
    ended = 0
    silent = list(turn_store.silent().order_by("id")[:500])
    living = outage_heartbeat.among("chat", (answer.id for answer in silent))
    for answer in silent:
        if answer.id in living:  # its process only cannot reach the database
            continue
        recorded = _log(answer)
        if recorded.end is not None:
            _as_recorded(answer, recorded)
        else:
            _interrupted(answer, recorded)
        if turn_store.interrupt(answer):
            ended += 1
            if answer.status == Message.Status.INTERRUPTED:
                metrics.INTERRUPTED.inc()
            if recorded.end is None:
                _close_log(answer)
    costs.settle_late()
    return ended


def _log(answer: Message) -> Recorded:
    try:
        return add_up(event_log.recorded(answer.id))
    except AWAY:
        return Recorded()


def _as_recorded(answer: Message, recorded: Recorded) -> None:
    """Return the end that the log has, which the turn's process could not write to the row."""
    assert recorded.end is not None
    seq, kind, data = recorded.end
    value: dict[str, Any] = orjson.loads(data)
    message = value if kind == "message.end" else value["message"]
    for name in _AS_SENT:
        setattr(answer, name, message[name])
    answer.last_seq, answer.ended_at = seq, timezone.now()


def _interrupted(answer: Message, recorded: Recorded) -> None:
    answer.status, answer.finish_reason, answer.ended_at = Message.Status.INTERRUPTED, "error", timezone.now()
    answer.error = to_store(Unavailable(_MESSAGE, code="interrupted"), "")
    if recorded.last > answer.last_seq or len(recorded.content) > len(answer.content):
        answer.content, answer.reasoning, answer.steps = recorded.content, recorded.reasoning, recorded.steps
    answer.steps = answer.steps or recorded.steps  # the row gets its steps with its end only
    answer.model, answer.provider, answer.route = (
        recorded.model or answer.model,
        recorded.provider or answer.provider,
        recorded.route or answer.route,
    )
    answer.last_seq = max(recorded.last, answer.last_seq) + 1


def _close_log(answer: Message) -> None:
    kind, data = message_json.ending(answer)
    try:
        event_log.close(answer.id, (answer.last_seq, kind, data))
    except AWAY:
        return
