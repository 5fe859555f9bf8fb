"""Agents made, changed and deleted. Their definition is never changed: a change of it is one more version."""

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

# What an agent is called and who may see it; everything else that can be set belongs to its version.
FACE = ("slug", "name", "description", "visibility")
DEFINITION = ("system_prompt", "model", "goal", "parameters", "tools", "max_steps", "max_cost_usd", "max_seconds")
_SLUG_LENGTH = 60


def create(user: User, fields: Mapping[str, Any], *, ip: str = "") -> Agent:
    """A new agent with its version 1. Without a slug it gets one from its name.

    PermissionDenied where it is to be shared and the user may not share agents.
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
                _tell(agent, user, "agent.shared", agent.visibility == Agent.Visibility.SHARED, ip)
                return agent
        except IntegrityError:
            continue  # somebody has this slug
    raise _taken()


def change(user: User, agent_id: UUID, fields: Mapping[str, Any], *, ip: str = "", may_approve: bool = True) -> Agent:
    """The agent with the given fields changed. A version is made only if its definition became another one.

    PermissionDenied where a tool of which a version of this agent asks a person would ask no more, unless the caller `may_approve`:
    to switch the question off is to answer it for ever.

    The row is locked from reading to writing: of two changes at once the second goes on from what the first one made.
    """
    try:
        with transaction.atomic():
            agent = _locked(user, agent_id)
            before = agent.visibility
            if fields.get("visibility") == Agent.Visibility.SHARED != before:
                sharing.require(user)
            if not may_approve and (unasked := _asks_no_more(agent, fields)):
                raise PermissionDenied(
                    f"A person decides about {unasked[0]!r} here; an API key needs the scope approve to change that.",
                    code="scope_missing", param="tools", details={"scope": "approve", "tools": unasked},
                )  # fmt: skip
            face = {name: fields[name] for name in FACE if name in fields and fields[name] != getattr(agent, name)}
            for name, value in face.items():
                setattr(agent, name, value)
            made = _next_version(agent, user, fields)
            if face or made:
                agent.save(update_fields=[*face, *(["version"] if made else []), "updated_at"])
            _tell(
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
    """Out of sight at once with its owner's own runs of it, its slug free again. The sweep of `deleting` erases it later."""
    with transaction.atomic():
        agent = _locked(user, agent_id)
        agent.deleted_at = timezone.now()
        agent.save(update_fields=["deleted_at", "updated_at"])
        deleting.hide_runs(agent)
        _tell(agent, user, "agent.deleted", True, ip)
    deleting.withdraw_answers(agent)


def own(user: User, agent_id: UUID) -> Agent:
    """The user's own agent. PermissionDenied for one that is only shared with them, NotFound for any other."""
    agent = Agent.objects.visible_to(user).filter(pk=agent_id).select_related("version", "user").first()
    if agent is None:
        raise NotFound
    if agent.user_id != user.pk:
        raise PermissionDenied("Only its owner may do this with a shared agent.", code="not_owner")
    return agent


def _locked(user: User, agent_id: UUID) -> Agent:
    own(user, agent_id)
    # Without a join: PostgreSQL, having waited for the lock, would look for the new version in the old snapshot.
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


def _asks_no_more(agent: Agent, fields: Mapping[str, Any]) -> list[str]:
    """Tools that would run without a person although some version of the agent asks one: also one that was taken away in between."""
    free = {row["name"] for row in fields.get("tools", []) if row["approval"] != "always"}
    versions = AgentVersion.objects.filter(agent=agent).values_list("tools", flat=True) if free else []
    now = agent.version.tools if agent.version else []
    known = {row["name"] for row in now if row["approval"] != "always"}
    asked = {row["name"] for tools in versions for row in tools if row["approval"] == "always"}
    return sorted((free & asked) - known)


def _slugs(name: str) -> Iterator[str]:
    base = re.sub(r"[-_]+", "-", slugify(name))[: _SLUG_LENGTH - 8].strip("-") or "agent"
    yield base
    # No counting: a -2 would tell how many there are of others.
    for _ in range(5):
        yield f"{base}-{uuid4().hex[:6]}"


def _taken() -> InvalidRequest:
    sentence = "Another agent has this slug."
    return InvalidRequest(f"slug: {sentence}", code="slug_taken", param="slug", details={"slug": [sentence]})


def _tell(agent: Agent, user: User, action: str, happened: bool, ip: str = "") -> None:
    if happened:
        audit.record(action, actor=user, target=agent, ip=ip, details={"slug": agent.slug})
