"""The staff member of an admin request, and the accounts that staff may act on."""

from __future__ import annotations

from django.http import HttpRequest

from accounts.models import User


def staff(request: HttpRequest) -> User:
    """Return the staff member of the request; the admin refuses other requests."""
    assert isinstance(request.user, User)
    return request.user


def within_reach(request: HttpRequest, user: User | None) -> bool:
    """Return whether this staff member may act on the account. Only superusers may change staff and admins.

    Otherwise staff could become admins or lock the admins out.
    """
    return user is None or staff(request).is_superuser or not (user.is_superuser or user.is_staff or user.role == User.Role.ADMIN)
