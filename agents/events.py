"""What comes out of a model call: a closed vocabulary of frozen values and its one encoder.

Adapters yield TextDelta, ReasoningDelta, ToolCall, UsageReport and end with Completed, or raise a ProviderError; asked for
embeddings, Vectors in place of deltas; given a body of the vendor's own dialect, NativeAnswer in place of deltas and calls.
agents/calls adds Started, RouteFallback and Settled; the runner ToolResult and Stopped; the turn TurnStarted, TurnEnded, Failed;
a viewer that re-attaches may get Rewound.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson

from aiagents.core import jsonio
from billing.pricing import Usage

REWIND = "message.rewind"
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error", "cancelled", "max_steps", "max_cost", "max_seconds"]


@dataclass(slots=True)
class TextDelta:
    """`refusal`: the model refuses to answer, and `text`, which may be empty, is what it says about that."""

    text: str
    refusal: bool = False


@dataclass(slots=True)
class ReasoningDelta:
    """`signature` arrives, with an empty text, where the vendor signs its thinking."""

    text: str
    signature: str = ""


@dataclass(slots=True)
class ToolCall:
    """A whole tool call; `arguments` is the JSON text as the model wrote it.

    `needs_approval`: it waits until a person says yes or no to it, under the id of its run.
    """

    call_id: str
    name: str
    arguments: str
    signature: str = ""
    needs_approval: bool = False
    run_id: str = ""


@dataclass(slots=True)
class ToolResult:
    call_id: str
    name: str
    output: str
    status: Literal["ok", "error", "denied"] = "ok"
    latency_ms: int = 0


@dataclass(slots=True)
class Stopped:
    """A limit of the agent ended its run (`max_cost`, `max_seconds`); no further model call follows."""

    finish_reason: FinishReason


@dataclass(slots=True)
class Vectors:
    """What an embedding call made, in the order of its inputs: each vector as little-endian 32-bit floats."""

    values: list[bytes]


@dataclass(slots=True)
class NativeAnswer:
    """A part of the vendor's own answer, as it arrived, in place of text, reasoning and tool calls.

    Of a stream the events with their framing, of a whole answer the body; `output_bytes` of it were written by the model.
    """

    data: bytes
    output_bytes: int


@dataclass(slots=True)
class RuleApplied:
    """The vendor refused the request by a rule of its model, and it was sent once more in the form that the rule asks for."""

    rule: str
    message: str


@dataclass(slots=True)
class UsageReport:
    """The vendor's cumulative count so far: replace, never add. The last one is billed."""

    usage: Usage


@dataclass(slots=True)
class Completed:
    """The vendor's terminal mark was seen. `usage` None: the vendor reported none, so an estimate is billed.

    `stop_sequence` is the caller's stop sequence that ended the answer, if the vendor names it.
    """

    finish_reason: FinishReason
    usage: Usage | None
    stop_sequence: str = ""


@dataclass(slots=True)
class Started:
    """The candidate that answers, known at its first event. `native`: the answer comes as NativeAnswer."""

    call_id: UUID
    model: str
    provider: str
    route: dict[str, Any]
    native: bool = False


@dataclass(slots=True)
class RouteFallback:
    """Before any text: `source` failed, `target` is tried next."""

    source: str
    target: str
    reason: str


@dataclass(slots=True)
class Settled:
    """The call is paid. Always the last event of `calls.stream`, also when it raises after it."""

    call_id: UUID
    model: str
    provider: str
    finish_reason: FinishReason
    usage: Usage
    cost_usd: Decimal
    estimated: bool
    latency_ms: int
    ttft_ms: int | None
    route: dict[str, Any] = field(default_factory=dict)
    simulated: bool = False
    stop_sequence: str = ""


@dataclass(slots=True)
class TurnStarted:
    """`message_id` is the id of the answer; of an agent's run and of a task's run it is the run's id.

    `run_id` of an agent's or a task's run, `task_id` of a task's run.
    """

    conversation_id: str | None
    user_message_id: str | None
    message_id: str
    model: str
    provider: str
    route: dict[str, Any]
    run_id: str | None = None
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class Rewound:
    """Fewer events stand than the viewer has seen: the process that wrote them died before they were stored.

    `seq` is the last event that stands, -1 for none. What the events up to it add up to: `length` and `reasoning_length`
    in characters (Unicode code points), `steps` as the number of tool calls and tool results.
    """

    seq: int
    length: int
    reasoning_length: int = 0
    steps: int = 0


@dataclass(slots=True)
class TurnEnded:
    """`message` is the whole assistant message as `send` answers it, or the whole run."""

    message: dict[str, Any]


@dataclass(slots=True)
class Failed:
    """`error` is the contract's inner error object; `kept` what there is of the work: `{"message": …}` or `{"run": …}`."""

    error: dict[str, Any]
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunStatus:
    """Where an open run of a task stands. A higher `attempt` than before means that its text begins anew."""

    run_id: str
    task_id: str
    status: str
    attempt: int
    next_attempt_at: str | None
    error: dict[str, Any] | None


@dataclass(slots=True)
class TaskStatus:
    """Where a task stands when a viewer comes; it belongs to no run and has no seq."""

    task_id: str
    status: str
    next_run_at: str | None
    last_run: dict[str, Any] | None
    at: str


Event = (
    TextDelta
    | ReasoningDelta
    | ToolCall
    | NativeAnswer
    | Vectors
    | UsageReport
    | RuleApplied
    | Completed
    | Started
    | RouteFallback
    | Settled
    | ToolResult
    | Stopped
)
TurnEvent = TurnStarted | Rewound | RouteFallback | TextDelta | ReasoningDelta | ToolCall | ToolResult | TurnEnded | Failed
TaskEvent = RunStatus | TaskStatus


def write(event: TurnEvent | TaskEvent) -> tuple[str, bytes]:
    """The event's public name, and its data as JSON on one line: what stands in every log and goes to every viewer."""
    if isinstance(event, TextDelta):  # nearly all events are this one
        return "content.delta", b'{"text":' + orjson.dumps(jsonio.clean_text(event.text)) + b"}"
    name, data = encode(event)
    return name, jsonio.dumps(data)


def write_step(step: dict[str, Any]) -> tuple[str, bytes]:
    """A tool call or its result as a message keeps it, with its `type`: the event that it was."""
    return step["type"], jsonio.dumps({name: value for name, value in step.items() if name != "type"})


def encode(event: TurnEvent | TaskEvent) -> tuple[str, dict[str, Any]]:
    """The event's public name and data, the same on SSE, WebSocket, event log and a task's run; its texts can be stored."""
    name, data = _encode(event)
    return name, {key: jsonio.clean_text(value) if isinstance(value, str) else value for key, value in data.items()}


def _encode(event: TurnEvent | TaskEvent) -> tuple[str, dict[str, Any]]:
    match event:
        case TextDelta():
            return "content.delta", {"text": event.text}
        case ReasoningDelta():
            return "reasoning.delta", {"text": event.text}
        case ToolCall():
            asks = {"needs_approval": True, "run_id": event.run_id} if event.needs_approval else {}
            return "tool.call", {"call_id": event.call_id, "name": event.name, "arguments": event.arguments, **asks}
        case ToolResult():
            return "tool.result", {
                "call_id": event.call_id, "name": event.name, "status": event.status,
                "output": event.output, "latency_ms": event.latency_ms,
            }  # fmt: skip
        case RouteFallback():
            return "route.fallback", {"from": event.source, "to": event.target, "reason": event.reason}
        case TurnStarted():
            more = {"run_id": event.run_id, "task_id": event.task_id}
            return "message.start", {
                "conversation_id": event.conversation_id, "user_message_id": event.user_message_id,
                "message_id": event.message_id, "model": event.model, "provider": event.provider, "route": event.route,
                **{name: value for name, value in more.items() if value is not None},
            }  # fmt: skip
        case Rewound():
            return REWIND, {"seq": event.seq, "length": event.length, "reasoning_length": event.reasoning_length, "steps": event.steps}
        case TurnEnded():
            return "message.end", event.message
        case Failed():
            return "error", {"error": event.error, **event.kept}
        case RunStatus():
            return "run.status", {
                "run_id": event.run_id, "task_id": event.task_id, "status": event.status, "attempt": event.attempt,
                "next_attempt_at": event.next_attempt_at, "error": event.error,
            }  # fmt: skip
        case TaskStatus():
            return "task.status", {
                "task_id": event.task_id, "status": event.status, "next_run_at": event.next_run_at, "last_run": event.last_run,
                "at": event.at,
            }  # fmt: skip
