"""What a principal may do. A user in person may do all that is theirs; a key, what its scopes say; admin, never a key."""

from __future__ import annotations

from rest_framework import exceptions
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.authentication import principal_of
from accounts.models import ApiKey, User
from accounts.principals import Principal
from aiagents.core.errors import PermissionDenied


def may(principal: Principal, scope: str | None, *, safe: bool = False) -> bool:
    """Whether the principal has the scope. `safe`: the request only reads, for which the scope `read` is enough. None: in person."""
    if principal.scopes is None:
        return True
    return scope is not None and (scope in principal.scopes or (safe and ApiKey.Scope.READ in principal.scopes))


class ScopeMissing(PermissionDenied, exceptions.PermissionDenied):
    """The one answer of every door. DRF's error too: its browsable API asks permission classes what else one may do."""

    code = "scope_missing"


def require_scope(principal: Principal, scope: str, *, safe: bool = False) -> None:
    """`ScopeMissing` unless the principal may."""
    if not may(principal, scope, safe=safe):
        raise ScopeMissing(f"This API key lacks the scope {scope}.", details={"scope": scope})


def of(principal: Principal) -> list[str]:
    """The list the profile shows: scopes, and `admin`."""
    return of_user(principal.user) if principal.scopes is None else sorted(principal.scopes)


def of_user(user: User) -> list[str]:
    """The same for the user in person."""
    return sorted(ApiKey.Scope.values) + (["admin"] if user.is_admin else [])


class HasScope(BasePermission):
    """The view names its `required_scope`; a view that names none is closed to API keys. GET and HEAD may use `read`."""

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
    """Signed in with a password, not with an API key."""

    message = "API keys may not be used here; sign in."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.user.is_authenticated and principal_of(request).scopes is None


class IsAdmin(InPerson):
    """The admin role, in person."""

    message = "This needs the admin role."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and principal_of(request).user.is_admin
