"""Model calls for callers that do not stream: the whole answer, or the vectors, once the call is settled."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from agents.calls import service as calls
from agents.calls.service import CallContext
from agents.events import NativeAnswer, ReasoningDelta, Settled, TextDelta, ToolCall, Vectors
from agents.messages import CompletionRequest, EmbeddingRequest


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer. `native` is the vendor's own body, in place of all but `settled`, for a request in its dialect."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    settled: Settled
    native: bytes = b""


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vectors of an embedding call, in the order of its inputs, in the format of `events.Vectors`."""

    vectors: list[bytes]
    settled: Settled


async def complete(request: CompletionRequest, context: CallContext, receipts: list[Settled] | None = None) -> Completion:
    """Return the whole answer of one call. Raises what `stream` raises."""
    text: list[str] = []
    reasoning: list[str] = []
    tool_calls: list[ToolCall] = []
    native = b""
    async with aclosing(calls.stream(request, context, receipts, whole=True)) as events:
        async for event in events:
            match event:
                case TextDelta():
                    text.append(event.text)
                case ReasoningDelta():
                    reasoning.append(event.text)
                case ToolCall():
                    tool_calls.append(event)
                case NativeAnswer():
                    native = event.data
                case Settled():
                    return Completion("".join(text), "".join(reasoning), tuple(tool_calls), event, native)
    raise AssertionError("stream ends with Settled or raises")


async def embed(request: EmbeddingRequest, context: CallContext, receipts: list[Settled] | None = None) -> Embedding:
    """Return the vectors of one paid embedding call by the model that `context` names; there is no `auto`.

    Raises what `stream` raises.
    """
    found: list[bytes] = []
    async with aclosing(calls.stream(request, context, receipts)) as events:
        async for event in events:
            match event:
                case Vectors():
                    found = event.values
                case Settled():
                    return Embedding(found, event)
    raise AssertionError("stream ends with Settled or raises")
