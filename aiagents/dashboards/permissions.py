"""The permissions for the dashboards."""

from __future__ import annotations

from django.http import HttpRequest

USAGE = ("billing.view_usagelog",)
PEOPLE = ("billing.view_usagelog", "accounts.view_user")
SYSTEM = ("monitoring.view_systemmetric",)


def may(request: HttpRequest, permissions: tuple[str, ...]) -> bool:
    """Whether the user is staff with these permissions or with the role admin, which sees the same figures in the API."""
    user = request.user
    if not user.is_active or not getattr(user, "is_staff", False):
        return False
    return getattr(user, "is_admin", False) or user.has_perms(permissions)
