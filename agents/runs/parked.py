"""A parked run as JSON: all that another process needs to continue it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any
from uuid import UUID

from agents import messages
from agents.calls.service import CallContext
from agents.definitions.definition import Definition, Grant
from agents.messages import CompletionRequest, Message, Part

JSON = dict[str, Any]
_PARTS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (messages.Text, messages.Image, messages.File, messages.Reasoning, messages.ToolUse, messages.ToolOutput)
}
_CONTEXT = ("purpose", "surface", "request_id", "requested_model", "goal")
_IDS = ("conversation_id", "message_id", "agent_id", "task_id")
_PLAIN = (
    "system", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "seed", "max_output_tokens", "response_format",
    "reasoning_effort", "extra",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parked:
    """The state of a run when it was parked. Its last message has the tool calls that wait for a decision."""

    definition: Definition
    request: CompletionRequest
    context: Mapping[str, Any]
    model_calls: int
    number: int
    seconds: float
    model: str

    def to_json(self) -> JSON:
        """Return the value of AgentRun.state."""
        return {
            "definition": _definition_out(self.definition),
            "request": {name: getattr(self.request, name) for name in _PLAIN}
            | {"stop": list(self.request.stop), "messages": [_message_out(one) for one in self.request.messages]},
            "context": dict(self.context),
            "model_calls": self.model_calls,
            "number": self.number,
            "seconds": self.seconds,
            "model": self.model,
        }


def parked(state: JSON) -> Parked:
    """Read AgentRun.state."""
    asked = dict(state["request"])
    messages = tuple(_message_in(one) for one in asked.pop("messages"))
    return Parked(
        _definition_in(state["definition"]), CompletionRequest(messages, **(asked | {"stop": tuple(asked["stop"])})), state["context"],
        state["model_calls"], state["number"], state["seconds"], state["model"],
    )  # fmt: skip


def context_out(context: CallContext) -> JSON:
    """Return the context of a call as JSON, without its caller."""
    ids = {name: str(value) for name in _IDS if (value := getattr(context, name)) is not None}
    cost = {} if context.max_cost_usd is None else {"max_cost_usd": str(context.max_cost_usd)}
    return {name: getattr(context, name) for name in _CONTEXT} | {"fallbacks": list(context.fallbacks)} | ids | cost


def context_in(state: Mapping[str, Any], **more: Any) -> CallContext:
    """Return the context from its JSON; `more` has the caller."""
    found: JSON = {name: state[name] for name in _CONTEXT} | {"fallbacks": tuple(state["fallbacks"])}
    found |= {name: UUID(state[name]) for name in _IDS if name in state}
    if "max_cost_usd" in state:
        found["max_cost_usd"] = Decimal(state["max_cost_usd"])
    return CallContext(**(found | more))


def _message_out(message: Message) -> JSON:
    return {"role": message.role, "parts": [_part_out(part) for part in message.parts]}


def _message_in(state: JSON) -> Message:
    return Message(state["role"], tuple(_PARTS[part.pop("is")](**part) for part in map(dict, state["parts"])))


def _part_out(part: Part) -> JSON:
    return {"is": type(part).__name__} | {one.name: getattr(part, one.name) for one in fields(part)}


def _definition_out(definition: Definition) -> JSON:
    found = {one.name: getattr(definition, one.name) for one in fields(definition)}
    for name in ("agent_id", "version_id", "max_cost_usd"):
        found[name] = None if found[name] is None else str(found[name])
    return found | {"tools": [[grant.name, grant.ask] for grant in definition.tools]}


def _definition_in(state: JSON) -> Definition:
    found = dict(state)
    for name, kind in (("agent_id", UUID), ("version_id", UUID), ("max_cost_usd", Decimal)):
        found[name] = None if found[name] is None else kind(found[name])
    return Definition(**(found | {"tools": tuple(Grant(name, ask) for name, ask in found["tools"])}))
