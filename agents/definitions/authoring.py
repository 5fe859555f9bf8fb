"""Creates, changes and deletes agents. A changed definition becomes a new version; versions never change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from accounts import audit
from accounts.models import User
from agents.definitions import deleting, sharing
from agents.models import Agent, AgentVersion
from aiagents.core.errors import Conflict, InvalidRequest, NotFound, PermissionDenied

# The fields of the agent itself: its names and its visibility. All other fields belong to its version.
FACE = ("slug", "name", "description", "visibility")
DEFINITION = ("system_prompt", "model", "goal", "parameters", "tools", "max_steps", "max_cost_usd", "max_seconds")
_SLUG_LENGTH = 60


def create(user: User, fields: Mapping[str, Any], *, ip: str = "") -> Agent:
    """Create an agent with its version 1. Without a slug it gets one from its name.

    Raises PermissionDenied if it should be shared and the user may not share agents, Conflict at the limit of agents, and
    InvalidRequest if the slug is taken.
    """
    if fields.get("visibility") == Agent.Visibility.SHARED:
        sharing.require(user)
    wanted = fields.get("slug")
    for slug in [wanted] if wanted else _slugs(fields["name"]):
        try:
            with transaction.atomic():
                User.objects.hold(user.pk)
                if Agent.objects.filter(user=user, deleted_at=None).count() >= settings.MAX_AGENTS_PER_USER:
                    raise Conflict(f"You have {settings.MAX_AGENTS_PER_USER} agents already; delete one first.", code="too_many_agents")
                agent = Agent.objects.create(user=user, **{name: fields[name] for name in FACE if name in fields} | {"slug": slug})
                version = {name: fields[name] for name in DEFINITION if name in fields}
                agent.version = AgentVersion.objects.create(agent=agent, number=1, created_by=user, **version)
                agent.save(update_fields=["version"])
                _audit(agent, user, "agent.shared", agent.visibility == Agent.Visibility.SHARED, ip)
                return agent
        except IntegrityError:
            continue  # another agent has this slug
    raise _taken()


def change(user: User, agent_id: UUID, fields: Mapping[str, Any], *, ip: str = "", may_approve: bool = True) -> Agent:
    """Change the given fields of an agent and return it. Only a changed definition makes a new version.

    Raises PermissionDenied if a tool would no longer wait for approval although some version requires it, unless the caller
    `may_approve`: removing the approval approves all later calls. Concurrent changes follow one another by a row lock.
    """
    try:
        with transaction.atomic():
            agent = _locked(user, agent_id)
            before = agent.visibility
            if fields.get("visibility") == Agent.Visibility.SHARED != before:
                sharing.require(user)
            if not may_approve and (unapproved := _lost_approvals(agent, fields)):
                raise PermissionDenied(
                    f"Calls of {unapproved[0]!r} need a person's approval. Only an API key with the scope approve may change that.",
                    code="scope_missing", param="tools", details={"scope": "approve", "tools": unapproved},
                )  # fmt: skip
            face = {name: fields[name] for name in FACE if name in fields and fields[name] != getattr(agent, name)}
            for name, value in face.items():
                setattr(agent, name, value)
            made = _next_version(agent, user, fields)
            if face or made:
                agent.save(update_fields=[*face, *(["version"] if made else []), "updated_at"])
            _audit(
                agent,
                user,
                f"agent.{'shared' if agent.visibility == Agent.Visibility.SHARED else 'unshared'}",
                agent.visibility != before,
                ip,
            )
            return agent
    except IntegrityError:
        raise _taken() from None


def delete(user: User, agent_id: UUID, *, ip: str = "") -> None:
    """Hide the agent and its owner's own runs at once, and free its slug. The sweep of `deleting` erases it later."""
    with transaction.atomic():
        agent = _locked(user, agent_id)
        agent.deleted_at = timezone.now()
        agent.save(update_fields=["deleted_at", "updated_at"])
        deleting.hide_runs(agent)
        _audit(agent, user, "agent.deleted", True, ip)
    deleting.withdraw_answers(agent)


def own(user: User, agent_id: UUID) -> Agent:
    """Return the user's own agent. Raises PermissionDenied for another user's shared agent, NotFound for any other."""
    agent = Agent.objects.visible_to(user).filter(pk=agent_id).select_related("version", "user").first()
    if agent is None:
        raise NotFound
    if agent.user_id != user.pk:
        raise PermissionDenied("Only its owner may do this with a shared agent.", code="not_owner")
    return agent


def _locked(user: User, agent_id: UUID) -> Agent:
    own(user, agent_id)
    # Without a join: after the wait for the lock PostgreSQL would read the joined version from its old snapshot.
    agent = Agent.objects.editable_by(user).select_for_update().filter(pk=agent_id).first()
    if agent is None:  # deleted while we waited
        raise NotFound
    return agent


def _next_version(agent: Agent, user: User, fields: Mapping[str, Any]) -> bool:
    now = agent.version
    assert now is not None
    present = {name: getattr(now, name) for name in DEFINITION}
    wanted = present | {name: fields[name] for name in DEFINITION if name in fields}
    if wanted == present:
        return False
    agent.version = AgentVersion.objects.create(agent=agent, number=now.number + 1, created_by=user, **wanted)
    return True


def _lost_approvals(agent: Agent, fields: Mapping[str, Any]) -> list[str]:
    """Return tools that would run without approval although some version, also an older one, requires it."""
    free = {row["name"] for row in fields.get("tools", []) if row["approval"] != "always"}
    versions = AgentVersion.objects.filter(agent=agent).values_list("tools", flat=True) if free else []
    now = agent.version.tools if agent.version else []
    known = {row["name"] for row in now if row["approval"] != "always"}
    required = {row["name"] for tools in versions for row in tools if row["approval"] == "always"}
    return sorted((free & required) - known)


def _slugs(name: str) -> Iterator[str]:
    base = re.sub(r"[-_]+", "-", slugify(name))[: _SLUG_LENGTH - 8].strip("-") or "agent"
    yield base
    # Random, because a suffix such as -2 would reveal the agents of other users.
    for _ in range(5):
        yield f"{base}-{uuid4().hex[:6]}"


def _taken() -> InvalidRequest:
    sentence = "Another agent has this slug."
    return InvalidRequest(f"slug: {sentence}", code="slug_taken", param="slug", details={"slug": [sentence]})


def _audit(agent: Agent, user: User, action: str, happened: bool, ip: str = "") -> None:
    if happened:
        audit.record(action, actor=user, target=agent, ip=ip, details={"slug": agent.slug})
