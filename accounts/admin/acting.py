"""Who acts in the back office."""

from __future__ import annotations

from django.http import HttpRequest

from accounts.models import User


def staff(request: HttpRequest) -> User:
    """Who acts; the admin lets nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def within_reach(request: HttpRequest, user: User | None) -> bool:
    """Whether this member of staff may act on the account. Staff and admins are changed by superusers only.

    Otherwise the right to help users would be the right to become an admin, or to lock the admins out.
    """
    return user is None or staff(request).is_superuser or not (user.is_superuser or user.is_staff or user.role == User.Role.ADMIN)
