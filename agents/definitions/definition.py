"""An agent's definition at one moment: the frozen value that a run uses."""

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
    """A tool of an agent. `ask`: every call waits for approval, because the agent or the tool requires it."""

    name: str
    ask: bool


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition that a run uses. `agent_id` and `version_id` are None for a prompt without an agent.

    `shared`: another user owns the agent. Its tools that send data to other machines always wait for approval, because the
    owner could otherwise collect the data of those who run it.
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
    message = "The agent does not exist or is not available to you."


def visible(user: Any, *, agent_id: UUID | None = None, slug: str | None = None) -> Definition:
    """Return the current definition of an agent that `user` may run, by id or slug. Raises AgentNotFound."""
    by: dict[str, Any] = {"pk": agent_id} if agent_id is not None else {"slug": slug}
    agent = Agent.objects.visible_to(user).filter(**by).select_related("version").first()
    if agent is None or agent.version is None:
        raise AgentNotFound(param="agent_id" if agent_id is not None else "model")
    if not agent.enabled:  # only its owner sees a disabled agent
        raise AgentNotFound("This agent was switched off by an administrator.", code="agent_disabled")
    return of_version(agent, agent.version, shared=agent.user_id != user.pk)


def of_version(agent: Agent, version: AgentVersion, *, shared: bool) -> Definition:
    """Return the definition of one version of an agent, within the current limits of the settings."""
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
    """Return the definition of a prompt without an agent."""
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
    """Return the grants of a version's `tools`. Calls of missing and disabled tools return an error to the model."""
    rows = list(tools)
    known = registry.tools_for_sync(str(row["name"]) for row in rows)
    return tuple(
        Grant(row["name"], row.get("approval") == "always" or (row["name"] in known and known[row["name"]].needs_approval)) for row in rows
    )
