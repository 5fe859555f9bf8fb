"""A turn's events: model events in, numbered lines out, and the message that they add up to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from agents import events
from agents.events import ReasoningDelta, Rewound, RouteFallback, Settled, Started, Stopped, TextDelta, ToolCall, ToolResult
from aiagents.core import jsonio
from aiagents.core.errors import AppError
from aiagents.core.live.broadcast import Broadcast
from aiagents.core.stored_errors import to_store
from billing.pricing import Usage
from chat.models import Message
from chat.turns.store import Opened

# Bytes of text, reasoning and tool output of one turn; beyond it the turn ends as `length`.
MOST_BYTES = 8 * 1024 * 1024
_FINISH: dict[str, str] = {Message.Status.CANCELLED: "cancelled", Message.Status.FAILED: "error", Message.Status.INTERRUPTED: "error"}


class Transcript:
    """Adds the events, numbered, to the turn's broadcast."""

    def __init__(self, opened: Opened, broadcast: Broadcast) -> None:
        self.receipts: list[Settled] = []
        self.calls: set[UUID] = set()
        self.history: dict[str, Any] = {}
        self._opened, self._broadcast = opened, broadcast
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._steps: list[dict[str, Any]] = []
        self._bytes = 0
        self._held_back: list[RouteFallback] = []
        self._started: Started | None = None
        self._finish_reason = ""
        # Of the first call that was answered: an agent's later ones stay with its model.
        self._route: dict[str, Any] = {}

    @property
    def started(self) -> bool:
        """A model has begun to answer."""
        return bool(self._broadcast.lines)

    @property
    def full(self) -> bool:
        return self._bytes > MOST_BYTES

    @property
    def text(self) -> str:
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    @property
    def reasoning(self) -> str:
        if len(self._reasoning) > 1:
            self._reasoning = ["".join(self._reasoning)]
        return self._reasoning[0] if self._reasoning else ""

    def so_far(self, last: int) -> Rewound:
        """Return the message that the events up to seq `last`, without the terminal one, add up to."""
        return Rewound(last, len(self.text), len(self.reasoning), len(self._steps))

    def take(self, event: events.Event) -> None:
        match event:
            case TextDelta():
                self._add_text(event, self._text)
            case ReasoningDelta():
                self._add_text(event, self._reasoning)
            case Started():
                self.calls.add(event.call_id)
                self.start(event)
            case RouteFallback():
                # Comes right after `message.start`, which names the model that answers in the end.
                if self.started:
                    self._broadcast.add(*events.write(event))
                else:
                    self._held_back.append(event)
            case ToolCall() | ToolResult():
                name, data = events.encode(event)
                self._steps.append({"type": name, **data})
                raw = jsonio.dumps(data)
                self._bytes += len(raw)
                self._broadcast.add(name, raw)
            case Settled():
                self._finish_reason = event.finish_reason
                self._route = self._route or event.route
            case Stopped():
                self._finish_reason = event.finish_reason

    def start(self, event: Started | None) -> None:
        """Add `message.start`, once; without a model if none answered."""
        if not self.started:
            ids = str(self._opened.answer.conversation_id), str(self._opened.question.id), str(self._opened.answer.id)
            model, provider, route = (event.model, event.provider, event.route) if event else ("", "", {})
            started = events.TurnStarted(*ids, model, provider, {**route, "history": self.history})
            self._broadcast.add(*events.write(started))
            for fallback in self._held_back:
                self._broadcast.add(*events.write(fallback))
            if self._opened.carried is not None:
                self._add_text(TextDelta(self._opened.carried.content), self._text)
        self._started = event or self._started

    def _add_text(self, event: TextDelta | ReasoningDelta, kept: list[str]) -> None:
        if event.text:
            self.start(None)
            kept.append(jsonio.clean_text(event.text))
            name, data = events.write(event)
            self._bytes += len(data)
            self._broadcast.add(name, data)

    def ended(self, answer: Message, status: str, error: AppError | None, request_id: str) -> Message:
        """Return the message with all its text, and how it ended."""
        last, started = (self.receipts[-1] if self.receipts else None), self._started
        answer.status, answer.ended_at, answer.last_seq = status, timezone.now(), len(self._broadcast.lines)
        answer.content, answer.reasoning, answer.steps = self.text, self.reasoning, self._steps
        answer.model = started.model if started else (last.model if last else "")
        answer.provider = started.provider if started else (last.provider if last else "")
        route = self._route or (last.route if last else (started.route if started else {}))
        answer.route = _as_json({**route, "history": self.history})
        answer.finish_reason = _FINISH.get(status) or ("length" if self.full else self._finish_reason) or "stop"
        if error is not None:
            answer.error = to_store(error, request_id)
        answer.latency_ms = max(0, round((answer.ended_at - answer.created_at).total_seconds() * 1000))
        answer.ttft_ms = self.receipts[0].ttft_ms if self.receipts else None
        self.count(answer)
        return answer

    def count(self, answer: Message) -> None:
        """Return what the turn's calls used and cost, by their receipts."""
        usage = sum((receipt.usage for receipt in self.receipts), Usage())
        answer.input_tokens, answer.cached_input_tokens = usage.input_tokens, usage.cached_input_tokens
        answer.output_tokens, answer.reasoning_tokens = usage.output_tokens, usage.reasoning_tokens
        answer.cost_usd = sum((receipt.cost_usd for receipt in self.receipts), Decimal(0))
        answer.simulated = any(receipt.simulated for receipt in self.receipts)


def _as_json(value: Any) -> Any:
    """Return the value as JSON reads it, so that what is stored and what was sent are equal."""
    return jsonio.exact(jsonio.dumps(value))
