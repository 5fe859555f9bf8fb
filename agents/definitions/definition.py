"""What an agent is at one moment: the frozen value that a run works by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from agents.models import Agent, AgentVersion
from agents.tools import registry
from aiagents.core.errors import NotFound


@dataclass(frozen=True, slots=True)
class Grant:
    """A tool that an agent has. `ask`: every call waits for a person, as the agent or the tool itself demands."""

    name: str
    ask: bool


@dataclass(frozen=True, slots=True)
class Definition:
    """`agent_id` and `version_id` None: a bare prompt.

    `shared`: the agent of another user. Every tool of it that reaches out waits for the person who runs it, whatever its grants
    say, because its owner could otherwise have it send their data away.
    """

    agent_id: UUID | None
    version_id: UUID | None
    slug: str
    name: str
    system_prompt: str
    model: str
    goal: str
    parameters: dict[str, Any] = field(default_factory=dict)
    tools: tuple[Grant, ...] = ()
    max_steps: int = 1
    max_cost_usd: Decimal | None = None
    max_seconds: int = 300
    shared: bool = False


class AgentNotFound(NotFound):
    code = "agent_not_found"
    message = "There is no such agent."


def visible(user: Any, *, agent_id: UUID | None = None, slug: str | None = None) -> Definition:
    """The present definition of an agent that `user` may run, by id or slug; AgentNotFound otherwise."""
    by: dict[str, Any] = {"pk": agent_id} if agent_id is not None else {"slug": slug}
    agent = Agent.objects.visible_to(user).filter(**by).select_related("version").first()
    if agent is None or agent.version is None:
        raise AgentNotFound(param="agent_id" if agent_id is not None else "model")
    if not agent.enabled:  # its owner's, or nobody would see it
        raise AgentNotFound("This agent was switched off by an administrator.", code="agent_disabled")
    return of_version(agent, agent.version, shared=agent.user_id != user.pk)


def of_version(agent: Agent, version: AgentVersion, *, shared: bool) -> Definition:
    """The agent as it was in one of its versions, within today's limits."""
    return Definition(
        agent_id=agent.pk,
        version_id=version.pk,
        slug=agent.slug,
        name=agent.name,
        system_prompt=version.system_prompt,
        model=version.model,
        goal=version.goal,
        parameters=dict(version.parameters),
        tools=grants(version.tools),
        max_steps=min(version.max_steps, settings.AGENT_MAX_STEPS),
        max_cost_usd=version.max_cost_usd,
        max_seconds=min(version.max_seconds, settings.AGENT_MAX_SECONDS),
        shared=shared,
    )


def bare(
    *,
    system_prompt: str = "",
    model: str = "auto",
    goal: str = "",
    parameters: Mapping[str, Any] | None = None,
    tools: Iterable[Grant] = (),
    max_steps: int = 1,
    max_cost_usd: Decimal | None = None,
    max_seconds: int = 300,
) -> Definition:
    """A prompt without an agent."""
    return Definition(
        agent_id=None,
        version_id=None,
        slug="",
        name="",
        system_prompt=system_prompt,
        model=model,
        goal=goal,
        parameters=dict(parameters or {}),
        tools=tuple(tools),
        max_steps=min(max_steps, settings.AGENT_MAX_STEPS),
        max_cost_usd=max_cost_usd,
        max_seconds=min(max_seconds, settings.AGENT_MAX_SECONDS),
    )


def grants(tools: Iterable[Mapping[str, Any]]) -> tuple[Grant, ...]:
    """The grants in a version's `tools`. A tool that is gone or switched off stays: a call of it tells the model so."""
    rows = list(tools)
    known = registry.tools_for_sync(str(row["name"]) for row in rows)
    return tuple(
        Grant(row["name"], row.get("approval") == "always" or (row["name"] in known and known[row["name"]].needs_approval)) for row in rows
    )
