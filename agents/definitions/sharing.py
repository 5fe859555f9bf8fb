"""The permission to share agents with all users: staff have it, and the users to whom staff grant it."""

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
    message = "You may not share agents with all users. Request the permission from an administrator."


def may(user: User) -> bool:
    """Return whether the user may share agents now. Agents that are shared already stay shared without it."""
    # Reload the row: the caller's may be cached, with old permissions.
    known = User.objects.get(pk=user.pk)
    return known.is_active and (known.is_staff or known.is_admin or known.has_perm(PERMISSION))


def require(user: User) -> None:
    """Raise SharingNotAllowed (403, param `visibility`) unless the user may share agents."""
    if not may(user):
        raise SharingNotAllowed(param="visibility")


def allow(user: User) -> bool:
    """Grant the user the permission to share agents. False if the user had it already."""
    if _permission().user_set.filter(pk=user.pk).exists():
        return False
    user.user_permissions.add(_permission())
    return True


def withdraw(user: User) -> int:
    """Withdraw the permission, make the user's shared agents private, and return their number."""
    user.user_permissions.remove(_permission())
    return shared_by(user).update(visibility=Agent.Visibility.PRIVATE)


def shared_by(user: User) -> QuerySet[Agent]:
    return Agent.objects.filter(user=user, visibility=Agent.Visibility.SHARED, deleted_at=None)


def _permission() -> Permission:
    return Permission.objects.get(content_type__app_label="agents", codename=CODENAME)
