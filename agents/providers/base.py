"""What the door needs from a vendor's adapter, and what an adapter needs to know."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from agents.events import Event
from agents.messages import CompletionRequest, EmbeddingRequest


@dataclass(frozen=True, slots=True)
class Target:
    """Where and as whom a model is called. `model` is the vendor's own name for it; time-outs stand in the settings."""

    provider: str
    model: str
    base_url: str
    api_key: str
    max_output_tokens: int
    connection: str = ""
    simulated: bool = False
    requires_finish_reason: bool = True
    sends_usage: bool = True
    # Does the model take temperature and top_p; does it take a reasoning effort?
    temperature: bool = True
    reasoning: bool = True

    def __repr__(self) -> str:
        return f"Target({self.provider} {self.model} at {self.base_url}, connection={self.connection!r})"


class Provider(Protocol):
    """One verb, twice: the same events, as they come or out of one JSON answer. And vectors, where the vendor makes them."""

    def stream(self, request: CompletionRequest, target: Target) -> AsyncGenerator[Event, None]:
        """TextDelta, ReasoningDelta, ToolCall and UsageReport as they come, Completed last; or a ProviderError.

        Closing the generator closes the vendor's connection at once. Neighbouring pieces that arrive together are one delta.
        """
        ...

    def whole(self, request: CompletionRequest, target: Target) -> AsyncGenerator[Event, None]:
        """The same events from one JSON answer: cheaper for both sides when nobody watches the text grow."""
        ...

    def embed(self, request: EmbeddingRequest, target: Target) -> AsyncGenerator[Event, None]:
        """Vectors once, all inputs' together, UsageReport as it grows, Completed last; ProviderBadRequest where there are none."""
        ...


def output_limit(request: CompletionRequest, target: Target) -> int:
    """The caller's limit within the model's."""
    asked = request.max_output_tokens or target.max_output_tokens
    return max(1, min(asked, target.max_output_tokens) if target.max_output_tokens > 0 else asked)
