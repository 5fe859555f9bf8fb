"""`/api/v1/admin/`: users and the audit log. For the admin role, without API keys."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from accounts import administration, hooks
from accounts.api.administration_serializers import AuditEventSerializer, ManagedUserSerializer
from accounts.api.base import AuthView
from accounts.api.filters import AuditFilter, UserFilter
from accounts.client import Origin
from accounts.models import AuditEvent, User
from accounts.permissions import IsAdmin
from aiagents.core.drf.base import CursorPagination
from aiagents.core.errors import NotFound

_USER = OpenApiExample(
    "A user",
    value={
        "id": "01933f6e-8c1a-7c3e-9d2b-3c0f6d0c7a11", "email": "ann@example.com", "name": "Ann", "role": "user", "is_active": True,
        "is_staff": False, "is_superuser": False, "monthly_budget_usd": "50.00000000", "spent_usd": "3.21450000", "held_usd": "0.00000000",
        "last_login": "2026-11-20T08:12:44Z", "created_at": "2026-10-01T09:00:00Z",
    },
)  # fmt: skip
_CHANGE = OpenApiExample("Disable, and lower the budget", value={"is_active": False, "monthly_budget_usd": "10"}, request_only=True)


class AdminView(AuthView):
    """For the admin role, without API keys; never cached."""

    permission_classes = [IsAdmin]


class Users(AdminView, ListAPIView):
    """All users, with their spending this month."""

    serializer_class = ManagedUserSerializer
    pagination_class = CursorPagination
    filter_backends: list[Any] = list(api_settings.DEFAULT_FILTER_BACKENDS)
    filterset_class = UserFilter
    search_fields = ["email", "name"]
    ordering_fields = ["created_at", "last_login", "email", "name", "spent"]
    ordering = ["-created_at"]

    def get_queryset(self) -> QuerySet[User]:
        return hooks.with_month(User.objects.all())

    @extend_schema(tags=["admin"], operation_id="admin_users_list", examples=[_USER])
    def get(self, request: Request) -> Response:
        """Return users with role, state, budget and this month's spending.

        `?search=` in e-mail and name, `?ordering=-spent`.
        """
        return self.list(request)


class UserDetail(AdminView):
    """One user, as staff see it."""

    serializer_class = ManagedUserSerializer
    queryset = User.objects.none()

    @extend_schema(tags=["admin"], operation_id="admin_users_retrieve", responses={200: ManagedUserSerializer}, examples=[_USER])
    def get(self, request: Request, id: UUID) -> Response:
        """Return one user with this month's spending."""
        return Response(self.get_serializer(self._one(id)).data)

    @extend_schema(tags=["admin"], operation_id="admin_users_update", responses={200: ManagedUserSerializer}, examples=[_CHANGE])
    def patch(self, request: Request, id: UUID) -> Response:
        """Change role, state or monthly budget (null: no limit). A new role or state ends the user's sessions at once.

        Admins cannot remove their own admin role, disable themselves, or remove the last active admin (409). Only
        superusers can change a superuser. The audit log records every change.
        """
        serializer = self.get_serializer(self._one(id), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        administration.change(id, serializer.validated_data, actor=self.me, ip=Origin.of(request).ip)
        return Response(self.get_serializer(self._one(id)).data)

    def _one(self, id: UUID) -> User:
        user = hooks.with_month(User.objects.filter(pk=id)).first()
        if user is None:
            raise NotFound
        return user


class AuditLog(AdminView, ListAPIView):
    """The audit log."""

    serializer_class = AuditEventSerializer
    pagination_class = CursorPagination
    filter_backends: list[Any] = list(api_settings.DEFAULT_FILTER_BACKENDS)
    filterset_class = AuditFilter
    search_fields = ["action", "target_id", "request_id", "actor__email"]
    ordering_fields = ["at"]
    ordering = ["-at"]
    queryset = AuditEvent.objects.select_related("actor")

    @extend_schema(tags=["admin"], operation_id="admin_audit_log_list")
    def get(self, request: Request) -> Response:
        """Return the audit log, newest first. It contains no secret and no content, and cannot be changed."""
        return self.list(request)
