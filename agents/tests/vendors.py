"""What the adapters' tests share: the four kinds, targets on a simulator, short ways to ask and to drain."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from agents.events import Completed, ReasoningDelta, TextDelta, ToolCall, UsageReport
from agents.messages import CompletionRequest, Message, Text, ToolSpec
from agents.providers import provider
from agents.providers.base import Target
from agents.simulator import Simulator

KINDS = ("openai", "openai_compatible", "anthropic", "google")
VENDORS = ("openai", "anthropic", "google")
KEY = "sk-vendor-secret-0123456789"
WEATHER = ToolSpec("weather", "The weather in a city", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


def target(sim: Simulator, kind: str, **options: Any) -> Target:
    url = sim.openai_url if kind.startswith("openai") else sim.url
    return Target(kind, options.pop("model", "sim-model"), url, KEY, options.pop("max_output_tokens", 1000), **options)


def ask(text: str, **options: Any) -> CompletionRequest:
    return CompletionRequest(messages=(Message("user", (Text(text),)),), **options)


class Heard(list):
    """The events of a call, and what they say."""

    @property
    def text(self) -> str:
        return "".join(event.text for event in self if isinstance(event, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(event.text for event in self if isinstance(event, ReasoningDelta))

    @property
    def signature(self) -> str:
        return "".join(event.signature for event in self if isinstance(event, ReasoningDelta))

    @property
    def calls(self) -> list[ToolCall]:
        return [event for event in self if isinstance(event, ToolCall)]

    @property
    def reports(self) -> list[UsageReport]:
        return [event for event in self if isinstance(event, UsageReport)]

    @property
    def end(self) -> Completed:
        assert isinstance(self[-1], Completed), self
        assert sum(isinstance(event, Completed) for event in self) == 1
        return self[-1]


async def hear(kind: str, request: CompletionRequest, where: Target, *, whole: bool = False, into: Heard | None = None) -> Heard:
    """All events of a call; `into` keeps those that came before an error."""
    heard = Heard() if into is None else into
    adapter = provider(kind)
    async with aclosing(adapter.whole(request, where) if whole else adapter.stream(request, where)) as events:
        async for event in events:
            heard.append(event)
    return heard


async def sent(kind: str, request: CompletionRequest, *, whole: bool = False, **options: Any) -> dict[str, Any]:
    """The body that a vendor is sent for a request."""
    async with Simulator() as sim:
        await hear(kind, request, target(sim, kind, **options), whole=whole)
        return sim.requests[0].body
