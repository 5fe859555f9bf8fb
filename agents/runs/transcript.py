"""The model's answer in one step, in its order, as the next request sends it back."""

from __future__ import annotations

from agents.events import ReasoningDelta, ToolCall
from agents.messages import Part, Reasoning, Text, ToolUse
from aiagents.core import jsonio


class Answer:
    """Collects text, signed thinking and calls; `parts` is the assistant message that they form."""

    def __init__(self) -> None:
        self.provider = ""
        self._parts: list[Part] = []
        self._text: list[str] = []
        self._thought: list[str] = []
        self._all: list[str] = []

    @property
    def all_text(self) -> str:
        return jsonio.clean_text("".join(self._all))

    def text(self, text: str) -> None:
        self._text.append(text)
        self._all.append(text)

    def reasoning(self, event: ReasoningDelta) -> None:
        self._flush()
        if event.text:
            self._thought.append(event.text)
        if event.signature:  # only what its vendor signed can be sent back
            self._parts.append(Reasoning("".join(self._thought), event.signature, self.provider))
            self._thought = []

    def call(self, event: ToolCall) -> ToolUse:
        self._flush()
        use = ToolUse(event.call_id, event.name, event.arguments, event.signature)
        self._parts.append(use)
        return use

    def parts(self) -> tuple[Part, ...]:
        self._flush()
        return tuple(self._parts)

    def _flush(self) -> None:
        if self._text:
            self._parts.append(Text("".join(self._text)))
            self._text = []
