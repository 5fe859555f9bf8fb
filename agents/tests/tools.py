"""How the tests call a tool: as a model would, by JSON."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from accounts.authentication import Principal
from accounts.models import User
from agents.tools import registry
from agents.tools.registry import Tool, ToolContext


def context_of(user: User | None = None, seconds: float = 20.0) -> ToolContext:
    user = user or User(email="ada@example.com")
    return ToolContext(Principal(user, user.auth_epoch), uuid4(), "Europe/Vienna", seconds)


async def offering(tool: Tool, arguments: Any, seconds: float = 20.0) -> tuple[str, str]:
    """What the model gets for these arguments."""
    return await registry.call(tool, json.dumps(arguments), context_of(seconds=seconds))
