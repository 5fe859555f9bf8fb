"""An agent that answers in a chat: which settings of a turn are the agent's, and which the request's.

model, goal: the agent's if it names them; what it leaves open (`auto`, no goal) is the request's. System prompt: the
agent's, followed by that of the request or the conversation. Temperature and max_output_tokens: the request's if given.
max_cost_usd: the smaller one. Fallbacks: the request's. Tools and limits: only the agent's.
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

# The share of the window for the history, if tools' results must fit beside it.
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
