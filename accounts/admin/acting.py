"""Who acts in the back office."""

from __future__ import annotations

from django.http import HttpRequest

from accounts.models import User


def staff(request: HttpRequest) -> User:
    """Who acts; the admin lets nobody else in."""
    assert isinstance(request.user, User)
    return request.user
