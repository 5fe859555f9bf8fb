"""An agent as chat partner: what it decides about a turn, and what the one who asks may still decide.

model, goal: the agent's where it names them; what it leaves open (`auto`, no goal) is the request's. System prompt: the
agent's stands first, one of the request or the conversation is added after it. Temperature and max_output_tokens: the
request's where given. max_cost_usd: the smaller one. Fallbacks: the request's. Tools and limits: the agent's alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from accounts.models import User
from agents import messages
from agents.definitions import definition as definitions
from agents.definitions.definition import AgentNotFound, Definition
from agents.runs import service as runner
from aiagents.core.errors import NotFound
from chat.turn_request import TurnRequest

# Of the window, what the history may take where the tools' results have to fit in beside it.
_SHARE = 0.75


def answered_by(user: User, request: TurnRequest) -> tuple[TurnRequest, Definition]:
    """Return the request with nothing left open, and the agent that it names. Raises NotFound for one that the user may not run."""
    try:
        agent = definitions.visible(user, agent_id=request.agent_id)
    except AgentNotFound as exc:
        raise NotFound(
            f"{exc.message} Choose another agent, or none in the conversation's settings.", code=exc.code, param="agent_id"
        ) from exc
    model = agent.model if agent.model not in ("", "auto") else request.model
    return replace(request, model=model or "auto", goal=agent.goal or request.goal or user.goal), agent


def options(request: TurnRequest, agent: Definition) -> dict[str, Any]:
    """Return the options that the answer's row keeps. A later change of the agent does not change its version there."""
    named = {"id": str(agent.agent_id), "version_id": str(agent.version_id), "slug": agent.slug, "name": agent.name}
    return {**request.options(), "agent": named}


async def reserve(agent: Definition) -> tuple[int, float]:
    """Return the input tokens of the agent's own prompt and tools, and the share of the window that is left to the history."""
    own = await runner.overhead(agent)
    return messages.estimate_input(own), _SHARE if own.tools else 1.0
