"""What a tool is, whoever made it: a built-in function or an HTTP endpoint of staff's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

if TYPE_CHECKING:
    from accounts.principals import Principal

JSON = dict[str, Any]


class ToolError(Exception):
    """The tool could not do it; the text is for the model, so it says what to do better and holds no secret."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom a tool works and how long it may take."""

    principal: Principal
    run_id: UUID
    time_zone: str
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Tool:
    """`outside`: its answer was written by strangers, so the model gets it marked as data."""

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
        """Whether a call sends something to another machine: all tools but the built-in ones that only compute."""
        return self.kind != "builtin" or self.outside
