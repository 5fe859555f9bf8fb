"""The interface of tools: built-in functions and HTTP endpoints that staff configure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

if TYPE_CHECKING:
    from accounts.principals import Principal

JSON = dict[str, Any]


class ToolError(Exception):
    """A tool failed. The text goes to the model, so it states what to change and holds no secret."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The user of a tool call, and the time that it may take."""

    principal: Principal
    run_id: UUID
    time_zone: str
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool. `outside`: strangers write its output, so it is marked as data for the model."""

    name: str
    description: str
    parameters: JSON
    needs_approval: bool
    repeatable: bool
    run: Callable[[JSON, ToolContext], Awaitable[str]]
    kind: Literal["builtin", "http"] = "builtin"
    outside: bool = False

    @property
    def reaches_out(self) -> bool:
        """Whether a call sends data to another machine: true for all but the built-in tools that only compute."""
        return self.kind != "builtin" or self.outside
