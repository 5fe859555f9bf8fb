"""Model calls for callers that do not stream: the whole answer, or the vectors, once the call is settled."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace

from agents.calls import service as calls
from agents.calls.service import CallContext
from agents.events import NativeAnswer, ReasoningDelta, Settled, TextDelta, ToolCall, Vectors
from agents.messages import REDACTED, CompletionRequest, EmbeddingRequest

AnswerPart = TextDelta | ReasoningDelta | ToolCall


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer. `parts` are its blocks in the vendor's order: texts, thinking with its signature, and tool calls.

    `native` is the vendor's own body, in place of all but `settled`, for a request in its dialect.
    """

    parts: tuple[AnswerPart, ...]
    settled: Settled
    native: bytes = b""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextDelta) and not part.refusal)


class Parts:
    """Collects the events of an answer and joins adjacent pieces of one block."""

    def __init__(self) -> None:
        self._parts: list[AnswerPart] = []
        self._pieces: list[str] = []

    def add(self, event: AnswerPart) -> None:
        last = self._parts[-1] if self._parts else None
        if isinstance(event, ToolCall) or not _continues(last, event):
            self._join()
            self._parts.append(event)
            self._pieces = [] if isinstance(event, ToolCall) else [event.text]
        else:
            self._pieces.append(event.text)
            if isinstance(event, ReasoningDelta) and event.signature:
                self._parts[-1] = event

    def all(self) -> tuple[AnswerPart, ...]:
        self._join()
        return tuple(self._parts)

    def _join(self) -> None:
        if self._pieces:
            last = self._parts[-1]
            assert not isinstance(last, ToolCall)  # it has no pieces
            self._parts[-1] = replace(last, text="".join(self._pieces))
            self._pieces = []


def _continues(last: AnswerPart | None, event: TextDelta | ReasoningDelta) -> bool:
    """Return whether an event belongs to the block before it. A signature ends its block; encrypted thinking is one of its own."""
    if isinstance(event, TextDelta):
        return isinstance(last, TextDelta) and last.refusal == event.refusal
    return isinstance(last, ReasoningDelta) and not last.signature and not event.signature.startswith(REDACTED)


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vectors of an embedding call, in the order of its inputs, in the format of `events.Vectors`."""

    vectors: list[bytes]
    settled: Settled


async def complete(request: CompletionRequest, context: CallContext, receipts: list[Settled] | None = None) -> Completion:
    """Return the whole answer of one call. Raises what `stream` raises."""
    parts, native = Parts(), b""
    async with aclosing(calls.stream(request, context, receipts, whole=True)) as events:
        async for event in events:
            match event:
                case TextDelta() | ReasoningDelta() | ToolCall():
                    parts.add(event)
                case NativeAnswer():
                    native = event.data
                case Settled():
                    return Completion(parts.all(), event, native)
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
