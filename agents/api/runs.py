"""REST endpoints of runs and their approvals (`/api/v1/agents/runs/…`). run_endpoint.py starts runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import principal_of
from accounts.models import ApiKey
from accounts.permissions import HasScope
from agents.models import AgentRun, AgentStep
from agents.runs import approvals, step_pages
from agents.runs import as_json as run_json
from agents.runs import store as run_store
from aiagents.core.drf.base import StrictFieldsMixin, StrictFilterSet
from aiagents.core.drf.lists import refuse_unknown_parameters
from aiagents.core.errors import NotFound

DECISIONS = ("approve", "reject")
# Texts of the agent and its version that no answer shows: they would count as bytes of the page.
_UNUSED = ("agent__description", "version__system_prompt", "version__parameters", "version__tools")
_STEPS_AFTER = OpenApiParameter(
    step_pages.PARAMETER, {"type": "integer", "minimum": 0, "maximum": 999_999}, description="from `steps_next`"
)
_DECISION = OpenApiExample("one call", {"call_id": "call_1", "reason": "Not on a Friday."}, request_only=True)


class RunFilter(StrictFilterSet):
    status = django_filters.MultipleChoiceFilter(choices=AgentRun.Status.choices)
    agent = django_filters.UUIDFilter(field_name="agent_id")
    task = django_filters.UUIDFilter(field_name="task_id")
    conversation = django_filters.UUIDFilter(field_name="conversation_id")
    created_after = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = AgentRun
        fields: list[str] = []


class RunUsageSerializer(serializers.Serializer):
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()


class AgentStepSerializer(serializers.Serializer):
    """A step in the OpenAPI document. `agents.runs.as_json` encodes it."""

    number = serializers.IntegerField()
    kind = serializers.ChoiceField(AgentStep.Kind.choices)
    status = serializers.ChoiceField(AgentStep.Status.choices, help_text="`waiting`: the call waits for a person")
    name = serializers.CharField(help_text="the model or the tool")
    call_id = serializers.CharField(
        allow_null=True, help_text="of a tool call: the model's id of it; of a model call: its id in the usage log"
    )
    arguments = serializers.CharField(allow_null=True, help_text="of a tool call: JSON as the model wrote it")
    output = serializers.CharField()
    finish_reason = serializers.CharField(allow_null=True)
    error_code = serializers.CharField(help_text="`outcome_unknown`: it may have happened; it was not repeated")
    usage = RunUsageSerializer()
    cost_usd = serializers.CharField(help_text="US dollars as a decimal string")
    latency_ms = serializers.IntegerField()
    decision = serializers.ChoiceField(["approved", "rejected"], allow_null=True)
    reason = serializers.CharField(allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class RunListSerializer(serializers.Serializer):
    """A run without its steps, encoded by `agents.runs.as_json`."""

    id = serializers.UUIDField()
    agent_id = serializers.UUIDField(allow_null=True)
    agent = serializers.CharField(allow_null=True, help_text="the agent's slug")
    version = serializers.IntegerField(allow_null=True, help_text="the version of the agent that it used")
    status = serializers.ChoiceField(AgentRun.Status.choices)
    input = serializers.CharField()
    output = serializers.CharField(help_text="the text of the last model call")
    finish_reason = serializers.CharField(help_text="stop, length, content_filter, max_steps, max_cost, max_seconds, cancelled, error")
    error = serializers.DictField(allow_null=True)
    model = serializers.CharField()
    steps_done = serializers.IntegerField(help_text="model calls")
    usage = RunUsageSerializer()
    cost_usd = serializers.CharField(help_text="US dollars as a decimal string")
    simulated = serializers.BooleanField()
    surface = serializers.CharField()
    conversation_id = serializers.UUIDField(allow_null=True)
    message_id = serializers.UUIDField(allow_null=True)
    task_id = serializers.UUIDField(allow_null=True)
    request_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: AgentRun) -> dict[str, Any]:
        return run_json.run(instance)


class AgentRunSerializer(RunListSerializer):
    """A run with its steps. The context has the request."""

    waits_for = serializers.ListField(child=serializers.CharField(), help_text="the call_ids that wait for a person's decision")
    steps = AgentStepSerializer(many=True, help_text="in order; those after the first 4 MiB of texts are at `steps_next`")
    steps_next = serializers.URLField(
        required=False, allow_null=True, help_text="the same run with its further steps; null after the last. `run` answers all steps"
    )

    def to_representation(self, instance: AgentRun) -> dict[str, Any]:
        request = self.context["request"]
        after = step_pages.position(request.query_params.get(step_pages.PARAMETER))
        page = step_pages.read([instance.id], after)
        url = request.build_absolute_uri(reverse("agents:run", args=[instance.id]))
        return {
            **run_json.run(instance),
            "waits_for": step_pages.waits_for([instance.id])[instance.id],
            "steps": [run_json.step(step) for step in page.steps],
            "steps_next": None if page.next is None else f"{url}?{step_pages.PARAMETER}={page.next[1]}",
        }


class DecisionSerializer(StrictFieldsMixin, serializers.Serializer):
    """A decision about one waiting tool call, or about all of them without `call_id`."""

    call_id = serializers.CharField(required=False, max_length=200)
    reason = serializers.CharField(required=False, max_length=1000, help_text="of a rejection; the model reads it")


@extend_schema(tags=["agents"])
@extend_schema_view(
    list=extend_schema(
        operation_id="agents_runs_list",
        description="Your runs on every surface, newest first; `?status=waiting_approval` lists those that wait for you.",
    ),
    retrieve=extend_schema(
        operation_id="agents_runs_retrieve",
        responses=AgentRunSerializer,
        parameters=[_STEPS_AFTER],
        filters=False,
        description="A run with its steps. Where their texts have more than 4 MiB, `steps_next` has the further ones.",
    ),
)
class RunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    permission_classes = [HasScope]
    serializer_class = RunListSerializer
    queryset = AgentRun.objects.none()
    filterset_class = RunFilter
    search_fields = ["input", "output"]
    ordering_fields = ["created_at", "steps_done"]
    ordering = ["-created_at", "-id"]
    lookup_value_converter = "uuid"

    @property
    def required_scope(self) -> str:
        """Return the scope. Approvals need a scope of their own, which no other scope includes."""
        return ApiKey.Scope.APPROVE if self.action in DECISIONS else ApiKey.Scope.AGENTS

    def get_queryset(self) -> QuerySet[AgentRun]:
        return run_store.own(principal_of(self.request).user_id).select_related("agent", "version").defer("state", *_UNUSED)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.action == "list":
            return super().filter_queryset(queryset)
        refuse_unknown_parameters(self.request, step_pages.PARAMETER)
        return queryset

    def get_serializer_class(self) -> Any:
        if self.action in DECISIONS:
            return DecisionSerializer
        return RunListSerializer if self.action == "list" else AgentRunSerializer

    @extend_schema(operation_id="agents_runs_approve", request=DecisionSerializer, responses=AgentRunSerializer, examples=[_DECISION])
    def approve(self, request: Request, pk: UUID | None = None) -> Response:
        """Approve the waiting tool calls, or the named one. The run continues after the last decision. Safe to repeat.

        Needs a sign-in, or an API key with the scope `approve`."""
        return self._decide(request, pk, approve=True)

    @extend_schema(operation_id="agents_runs_reject", request=DecisionSerializer, responses=AgentRunSerializer, examples=[_DECISION])
    def reject(self, request: Request, pk: UUID | None = None) -> Response:
        """Reject the waiting tool calls, or the named one. The model reads the rejection and continues without them.

        Needs a sign-in, or an API key with the scope `approve`."""
        return self._decide(request, pk, approve=False)

    @extend_schema(operation_id="agents_runs_cancel", request=None, responses=AgentRunSerializer)
    def cancel(self, request: Request, pk: UUID | None = None) -> Response:
        """Cancel the run. Its text so far is kept and its usage is charged. An ended run stays unchanged."""
        assert pk is not None
        return self._response(run_store.cancel(principal_of(request).user_id, pk).id)

    def _decide(self, request: Request, pk: UUID | None, *, approve: bool) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        assert pk is not None
        run = approvals.decide(
            principal_of(request).user, pk, approve=approve,
            call_id=serializer.validated_data.get("call_id"), reason=serializer.validated_data.get("reason", ""),
        )  # fmt: skip
        return self._response(run.id)

    def _response(self, run_id: UUID) -> Response:
        run = self.get_queryset().filter(pk=run_id).first()
        if run is None:
            raise NotFound
        return Response(AgentRunSerializer(run, context=self.get_serializer_context()).data)
