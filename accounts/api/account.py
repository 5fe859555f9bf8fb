"""The user's own account: profile, password, API keys."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import hooks, keys
from accounts.api.base import AuthView
from accounts.api.serializers import AccessSerializer, ApiKeySerializer, NewApiKeySerializer, PasswordSerializer, ProfileSerializer
from accounts.authentication import principal_of
from accounts.client import Origin
from accounts.models import ApiKey, User
from accounts.permissions import HasScope, InPerson
from accounts.sign_in import service as sign_in
from accounts.sign_in import tokens
from aiagents.core.drf.base import CursorPagination
from aiagents.core.errors import NotFound


class Profile(AuthView):
    serializer_class = ProfileSerializer
    required_scope = ApiKey.Scope.BILLING

    def get_permissions(self) -> list[BasePermission]:
        """API keys with the scope `read` may read the profile; only the signed-in user may change it."""
        return [HasScope() if self.request.method in SAFE_METHODS else InPerson()]

    def get_object(self) -> User:
        # A new instance to write to, because other requests may share the principal's user.
        return User.objects.get(pk=self.me.pk)

    @extend_schema(tags=["auth"], responses={200: ProfileSerializer})
    def get(self, request: Request) -> Response:
        """Return the user with role, permissions and preferences, and this month's spending and budget."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(tags=["auth"], responses={200: ProfileSerializer})
    def patch(self, request: Request) -> Response:
        """Change the name or preferences."""
        serializer = self.get_serializer(self.get_object(), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)


class Password(AuthView):
    permission_classes = [InPerson]
    serializer_class = PasswordSerializer

    @extend_schema(tags=["auth"], responses={200: AccessSerializer})
    def post(self, request: Request) -> Response:
        """Change the password and end every other session.

        This one continues with its refresh token and a new access token.
        """
        data, principal = self.valid(), principal_of(request)
        user = User.objects.get(pk=self.me.pk)
        sign_in.change_password(
            user,
            data["current_password"],
            data["new_password"],
            Origin.of(request),
            keep_family=principal.family_id,
            revoke_keys=data["revoke_api_keys"],
        )
        if principal.family_id is None:  # a browser session of the browsable API
            update_session_auth_hash(request, user)
            return Response({"access": None})
        return Response({"access": tokens.renew_access(user, principal.family_id)})


class KeysPagination(CursorPagination):
    ordering = "-id"


class ApiKeys(AuthView):
    permission_classes = [InPerson]
    serializer_class = ApiKeySerializer
    pagination_class = KeysPagination

    def get_queryset(self) -> QuerySet[ApiKey]:
        return ApiKey.objects.filter(user=self.me, revoked_at=None)

    @extend_schema(tags=["auth"], operation_id="auth_api_keys_list", responses={200: ApiKeySerializer(many=True)})
    def get(self, request: Request) -> Response:
        """Return the user's keys without their secrets, expired ones included, revoked ones not."""
        page = self.paginate_queryset(self.get_queryset()) or []
        context = {**self.get_serializer_context(), "budgets": hooks.key_budgets([key.id for key in page])}
        return self.get_paginated_response(ApiKeySerializer(page, many=True, context=context).data)

    @extend_schema(tags=["auth"], request=ApiKeySerializer, responses={201: NewApiKeySerializer})
    def post(self, request: Request) -> Response:
        """Create a key. Only this response contains it, so `Idempotency-Key` does not replay the response."""
        data = self.valid()
        key, raw = keys.create(
            self.me,
            name=data["name"],
            scopes=data["scopes"],
            expires_at=data.get("expires_at"),
            monthly_budget_usd=data["monthly_budget_usd"],
            rate_limit=data["rate_limit"],
            creator_scopes=principal_of(request).scopes,
            ip=Origin.of(request).ip,
        )
        key.key = raw  # type: ignore[attr-defined]  # the serializer shows the raw key once
        context = {**self.get_serializer_context(), "budgets": {key.id: data["monthly_budget_usd"]}}
        return Response(NewApiKeySerializer(key, context=context).data, status.HTTP_201_CREATED)


class ApiKeyDetail(AuthView):
    permission_classes = [InPerson]
    serializer_class = ApiKeySerializer
    queryset = ApiKey.objects.none()

    @extend_schema(tags=["auth"], responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Revoke a key; it stops working with the next request."""
        key = ApiKey.objects.filter(pk=id, user=self.me, revoked_at=None).first()
        if key is None or not keys.revoke(key, actor=self.me, ip=Origin.of(request).ip):
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)
