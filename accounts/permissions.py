"""Permissions in DRF and in the profile: a signed-in user has all, an API key has its scopes, but never the admin role."""

from __future__ import annotations

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.authentication import may, principal_of, require_scope
from accounts.models import ApiKey, User
from accounts.principals import Principal


def of(principal: Principal) -> list[str]:
    """Return the permissions that the profile shows: scopes, and `admin`."""
    return of_user(principal.user) if principal.scopes is None else sorted(principal.scopes)


def of_user(user: User) -> list[str]:
    """Return the same for a signed-in user."""
    return sorted(ApiKey.Scope.values) + (["admin"] if user.is_admin else [])


class HasScope(BasePermission):
    """Checks the view's `required_scope`. A view without one refuses API keys. GET and HEAD also accept `read`."""

    message = "API keys may not be used here; sign in."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        scope, principal = getattr(view, "required_scope", None), principal_of(request)
        if scope is None:
            return may(principal, None)
        require_scope(principal, scope, safe=request.method in SAFE_METHODS)
        return True


class InPerson(BasePermission):
    """Requires a sign-in with a password, not an API key."""

    message = "API keys may not be used here; sign in."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.user.is_authenticated and principal_of(request).scopes is None


class IsAdmin(InPerson):
    """Requires the admin role and a sign-in with a password."""

    message = "This needs the admin role."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and principal_of(request).user.is_admin
