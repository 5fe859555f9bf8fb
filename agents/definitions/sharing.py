"""Who may share an agent with everybody: staff, and the people whom staff have named."""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.db.models import QuerySet

from accounts.models import User
from agents.models import Agent
from aiagents.core.errors import PermissionDenied

CODENAME = "share_agent"
PERMISSION = f"agents.{CODENAME}"


class SharingNotAllowed(PermissionDenied):
    code = "sharing_not_allowed"
    message = "You may not share agents with everybody. Ask an administrator for the permission to share agents."


def may(user: User) -> bool:
    """Whether the user may share agents, as the database has it now. Agents shared earlier stay shared without it."""
    # A fresh row: the caller's may be a remembered copy, which keeps its permissions.
    known = User.objects.get(pk=user.pk)
    return known.is_active and (known.is_staff or known.is_admin or known.has_perm(PERMISSION))


def require(user: User) -> None:
    """`SharingNotAllowed` (403, param `visibility`) unless the user may share agents."""
    if not may(user):
        raise SharingNotAllowed(param="visibility")


def allow(user: User) -> bool:
    """Let the user share agents with everybody. False if they could already by this permission."""
    if _permission().user_set.filter(pk=user.pk).exists():
        return False
    user.user_permissions.add(_permission())
    return True


def withdraw(user: User) -> int:
    """Take the permission away and make the user's shared agents private. How many agents that were."""
    user.user_permissions.remove(_permission())
    return shared_by(user).update(visibility=Agent.Visibility.PRIVATE)


def shared_by(user: User) -> QuerySet[Agent]:
    return Agent.objects.filter(user=user, visibility=Agent.Visibility.SHARED, deleted_at=None)


def _permission() -> Permission:
    return Permission.objects.get(content_type__app_label="agents", codename=CODENAME)
