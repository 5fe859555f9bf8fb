"""The interface of a vendor's adapter, and the target of a call."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from agents.events import Event
from agents.messages import CompletionRequest, EmbeddingRequest


@dataclass(frozen=True, slots=True)
class Target:
    """Address and credentials of a model. `model` is the vendor's name for it, `name` ours; the settings hold the time-outs."""

    provider: str
    model: str
    base_url: str
    api_key: str
    max_output_tokens: int
    name: str = ""
    connection: str = ""
    simulated: bool = False
    requires_finish_reason: bool = True
    sends_usage: bool = True
    # Whether a compatible server gets the client's own body of chat completions.
    passes_through: bool = False
    # Which of the vendor's endpoints answers; empty: its usual one.
    endpoint: str = ""
    # Whether the model accepts temperature and top_p, and whether it accepts a reasoning effort.
    temperature: bool = True
    reasoning: bool = True

    def __repr__(self) -> str:
        return f"Target({self.provider} {self.model} at {self.base_url}, connection={self.connection!r})"


class Provider(Protocol):
    """An adapter: the events of an answer, streamed or from one JSON body, and vectors if the vendor makes them."""

    def stream(self, request: CompletionRequest, target: Target) -> AsyncGenerator[Event, None]:
        """Yield TextDelta, ReasoningDelta, ToolCall and UsageReport as they arrive, Completed last.

        A request with a body of the vendor's own dialect gets NativeAnswer in place of the first three.
        Raises a ProviderError. Closing the generator closes the vendor's connection at once.
        Adjacent pieces that arrive together are one delta.
        """
        ...

    def whole(self, request: CompletionRequest, target: Target) -> AsyncGenerator[Event, None]:
        """Yield the same events from one JSON answer, which is cheaper for both sides than a stream."""
        ...

    def embed(self, request: EmbeddingRequest, target: Target) -> AsyncGenerator[Event, None]:
        """Yield UsageReport per batch, Vectors once for all inputs, Completed last.

        Raises ProviderBadRequest if the vendor makes no vectors.
        """
        ...
