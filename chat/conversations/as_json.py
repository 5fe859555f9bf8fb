"""Encodes messages, and the last event of a turn, for clients: one shape for REST, SSE, WebSocket and exports."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from agents import events
from aiagents.core.jsonio import money
from chat.models import Message


def answer(message: Message) -> dict[str, Any]:
    """Return an assistant message in the API's shape. It never changes after the turn's end, so a replay is equal."""
    return {
        "id": str(message.id),
        "conversation_id": str(message.conversation_id),
        "parent_id": _id(message.parent_id),
        "role": message.role,
        "content": message.content,
        "reasoning": message.reasoning,
        "steps": _in_order(message.steps),
        "status": message.status,
        "agent_id": message.options.get("agent_id"),
        "agent": _in_order(message.options.get("agent")),
        "run_id": str(message.id) if message.options.get("agent_id") else None,
        "model": message.model,
        "provider": message.provider,
        "finish_reason": message.finish_reason,
        "usage": {
            "input_tokens": message.input_tokens,
            "cached_input_tokens": message.cached_input_tokens,
            "output_tokens": message.output_tokens,
            "reasoning_tokens": message.reasoning_tokens,
        },
        "cost_usd": money(message.cost_usd),
        "latency_ms": message.latency_ms,
        "ttft_ms": message.ttft_ms,
        "route": _in_order(message.route),
        "error": _in_order(message.error),
        "simulated": message.simulated,
        "created_at": _time(message.created_at),
        "ended_at": _time(message.ended_at),
    }


def ending(message: Message) -> tuple[str, bytes]:
    """Return the name and data of an ended turn's last event."""
    whole = answer(message)
    if message.status in (Message.Status.COMPLETE, Message.Status.CANCELLED):
        return events.write(events.TurnEnded(whole))
    return events.write(events.Failed(message.error or {}, {"message": whole}))


def question(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "conversation_id": str(message.conversation_id),
        "parent_id": _id(message.parent_id),
        "role": message.role,
        "content": message.content,
        "parts": _in_order(message.parts),
        "metadata": _in_order(message.metadata),
        "status": message.status,
        "created_at": _time(message.created_at),
    }


def listed(message: Message) -> dict[str, Any]:
    """Return a question or an answer, an answer with the user's feedback."""
    if message.role == Message.Role.USER:
        return question(message)
    rating = {1: "up", -1: "down"}.get(message.feedback or 0)
    return {**answer(message), "feedback": rating, "feedback_comment": message.feedback_comment}


def _in_order(value: Any) -> Any:
    """Return the value with sorted keys: the database reorders keys, but a replay must have equal bytes."""
    try:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)) if value else value
    except TypeError:  # an integer beyond 64 bits
        return _sorted(value)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _id(value: UUID | None) -> str | None:
    return str(value) if value else None


def _time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None
