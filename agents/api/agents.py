"""REST endpoints of agents, their versions and the tools (`/api/v1/agents/`). runs.py has the endpoints of runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view, inline_serializer
from rest_framework import serializers, status, viewsets
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import may, principal_of
from accounts.client import Origin
from accounts.models import ApiKey, User
from accounts.permissions import HasScope
from agents.api import examples
from agents.api.filters import AgentFilter
from agents.api.serializers import AgentSerializer, ToolSerializer, VersionSerializer
from agents.definitions import authoring, deleting
from agents.models import Agent, AgentVersion
from agents.tools import registry
from aiagents.core.drf import deleting as api_deleting
from aiagents.core.drf.base import CursorPagination, IdempotentMixin
from aiagents.core.errors import InvalidRequest, NotFound
from aiagents.core.http import body_limits


@extend_schema(tags=["agents"])
@extend_schema_view(
    list=extend_schema(operation_id="agents_list", description="The user's own agents and those that others share, newest first."),
    retrieve=extend_schema(
        operation_id="agents_retrieve", description="One agent. All users who may run it see its definition, but no secrets of its tools."
    ),
)
class AgentViewSet(IdempotentMixin, viewsets.GenericViewSet):  # type: ignore[misc]  # DRF's stubs want wider signatures
    serializer_class = AgentSerializer
    max_body_bytes = body_limits.TEXT
    permission_classes = [HasScope]
    required_scope = "agents"
    filterset_class = AgentFilter
    search_fields = ["name", "description", "slug"]
    ordering_fields = ["created_at", "updated_at", "name"]
    ordering = ["-created_at", "-id"]
    queryset = Agent.objects.none()

    @property
    def me(self) -> User:
        return principal_of(self.request).user

    def get_queryset(self) -> QuerySet[Agent]:
        return Agent.objects.visible_to(self.me).exclude(version=None).select_related("version", "user")

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: UUID) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(operation_id="agents_create", responses={201: AgentSerializer}, examples=examples.CREATE)
    def create(self, request: Request) -> Response:
        """Create an agent. Its definition becomes version 1; it is private unless `visibility` is `shared`."""
        agent = authoring.create(self.me, self._valid(request), ip=Origin.of(request).ip)
        if (claim := request.claim) is not None:  # type: ignore[attr-defined]  # set by IdempotentMixin
            claim.reference = {"agent_id": str(agent.pk)}  # the stored answer shows the definition
        return Response(self.get_serializer(agent).data, status.HTTP_201_CREATED)

    @extend_schema(operation_id="agents_update", responses=AgentSerializer, examples=examples.CREATE)
    def update(self, request: Request, pk: UUID) -> Response:
        """Replace the definition: missing fields become their defaults. A missing slug or visibility stays unchanged."""
        agent = authoring.own(self.me, pk)
        return self._changed(request, pk, self._valid(request, agent))

    @extend_schema(operation_id="agents_partial_update", responses=AgentSerializer, examples=examples.CHANGE)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Change the given fields; `parameters` and `tools` as a whole. A changed definition becomes a new version."""
        agent = authoring.own(self.me, pk)
        return self._changed(request, pk, self._valid(request, agent, partial=True))

    @extend_schema(operation_id="agents_destroy", responses=api_deleting.RESPONSES, parameters=[api_deleting.NOW], filters=False)
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Delete the agent: it cannot be seen or run again, and your own direct runs of it are hidden.

        They are erased from the database after `DELETED_RETENTION_DAYS`, with the prompt, tools and parameters of all versions;
        `?now=true` erases them at once. 202: a run of it did not end within seconds; the agent is erased after its end. Runs in
        conversations, in tasks and of other users stay and name its slug and version. Costs stay, without content.
        """
        now = api_deleting.wants_now(request)
        try:
            authoring.delete(self.me, pk, ip=Origin.of(request).ip)
        except NotFound:
            if not now or not deleting.deleted(self.me, pk):
                raise
        return api_deleting.answer(deleting.erase_now(pk) if now else True)

    def _valid(self, request: Request, agent: Agent | None = None, *, partial: bool = False) -> dict[str, Any]:
        serializer = self.get_serializer(agent, data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def _changed(self, request: Request, pk: UUID, fields: dict[str, Any]) -> Response:
        authoring.change(self.me, pk, fields, ip=Origin.of(request).ip, may_approve=may(principal_of(request), ApiKey.Scope.APPROVE))
        return Response(self.get_serializer(authoring.own(self.me, pk)).data)


class VersionPagination(CursorPagination):
    ordering = ("-number", "-id")


class VersionList(GenericAPIView):
    serializer_class = VersionSerializer
    permission_classes = [HasScope]
    required_scope = "agents"
    filter_backends: list[Any] = []
    pagination_class = VersionPagination
    queryset = AgentVersion.objects.none()

    @extend_schema(tags=["agents"], operation_id="agents_versions_list", responses=VersionSerializer(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """All versions of one of your agents, newest first. Runs name the version that they used."""
        agent = authoring.own(principal_of(request).user, pk)
        page = self.paginate_queryset(AgentVersion.objects.filter(agent=agent))
        context = {**self.get_serializer_context(), "current_version_id": agent.version_id}
        return self.get_paginated_response(VersionSerializer(page, many=True, context=context).data)


class ToolList(GenericAPIView):
    serializer_class = ToolSerializer
    permission_classes = [HasScope]
    required_scope = "agents"
    filter_backends: list[Any] = []
    pagination_class = None

    @extend_schema(
        tags=["agents"],
        operation_id="agents_tools_list",
        parameters=[OpenApiParameter("kind", str, enum=["builtin", "http"])],
        responses=inline_serializer(
            "ToolPage",
            {
                "next": serializers.CharField(allow_null=True),
                "previous": serializers.CharField(allow_null=True),
                "results": ToolSerializer(many=True),
            },
        ),
        examples=examples.TOOLS,
    )
    def get(self, request: Request) -> Response:
        """The tools that agents may use now: built-in tools and those that staff configured, all on one page."""
        kind = request.query_params.get("kind")
        if kind not in (None, "builtin", "http"):
            raise InvalidRequest("kind must be builtin or http.", param="kind")
        found = [tool for tool in registry.catalogue_sync() if not kind or tool.kind == kind]
        return Response({"next": None, "previous": None, "results": ToolSerializer(found, many=True).data})
