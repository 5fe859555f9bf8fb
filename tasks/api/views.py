"""`/api/v1/tasks/` with DRF. The live events are in http.py."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import Principal, principal_of
from accounts.models import ApiKey
from accounts.permissions import HasScope
from agents.runs import step_pages
from aiagents.core.drf import deleting as api_deleting
from aiagents.core.drf.base import IdempotentMixin
from aiagents.core.drf.lists import refuse_unknown_parameters
from aiagents.core.errors import InvalidRequest, NotFound
from aiagents.core.http import body_limits
from aiagents.core.logs import context
from tasks import deleting
from tasks import service as task_service
from tasks.api.filters import TaskFilter
from tasks.api.serializers import (
    NewTaskSerializer,
    RunDetailSerializer,
    RunRequestSerializer,
    RunSerializer,
    SecretSerializer,
    TaskSerializer,
)
from tasks.models import Status, Task, TaskRun
from tasks.schedule import Kind, Plan

# Seconds that `cancel` waits for the worker.
_CANCEL_WAITS = 4.0
# Texts of the last run that no answer shows: they would count as bytes of the page.
_UNUSED = ("last_run__variables", "last_run__input", "last_run__output")
_DAILY = OpenApiExample(
    "every working day",
    {
        "name": "Morning digest", "input": "Summarise what is new about {topic} as of {date}.", "variables": {"topic": "solar power"},
        "model": "auto", "goal": "cheapest", "schedule": {"type": "cron", "cron": "30 7 * * 1-5", "time_zone": "Europe/Berlin"},
        "max_cost_usd": "0.05", "webhook_url": "https://hooks.example.com/digest",
    },
    request_only=True,
)  # fmt: skip
_ONCE = OpenApiExample("at once", {"name": "Haiku", "input": "A haiku about rain", "schedule": {"type": "now"}}, request_only=True)
_AGENT = OpenApiExample(
    "an agent every hour",
    {
        "name": "Watch", "agent_id": "01890000-0000-7000-8000-000000000000", "input": "Anything unusual?",
        "schedule": {"type": "interval", "every_seconds": 3600},
    },
    request_only=True,
)  # fmt: skip
_STEPS_AFTER = OpenApiParameter(
    step_pages.PARAMETER, {"type": "string", "pattern": r"^[0-9]{1,6}\.[0-9]{1,6}$"}, description="from `steps_next`"
)
_PAGE = [OpenApiParameter("cursor", str), OpenApiParameter("page_size", int), OpenApiParameter("status", str, enum=Status.values)]


@extend_schema(tags=["tasks"])
@extend_schema_view(
    list=extend_schema(description="Your tasks, newest first."),
    create=extend_schema(
        description="A task. Where a webhook is given without a secret, the answer shows the one that was made, this once.",
        examples=[_DAILY, _ONCE, _AGENT],
        responses={201: NewTaskSerializer},
    ),
    update=extend_schema(
        description="The whole task anew; what is left out gets its default. A schedule that is the same keeps its next moment.",
        responses=NewTaskSerializer,
    ),
    partial_update=extend_schema(description="Change what is given. An open run goes on as it was asked.", responses=NewTaskSerializer),
)
class TaskViewSet(IdempotentMixin, viewsets.ModelViewSet):  # type: ignore[misc]  # DRF's stubs want wider signatures
    serializer_class = TaskSerializer
    max_body_bytes = body_limits.TEXT
    permission_classes = [HasScope]
    required_scope = ApiKey.Scope.TASKS
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]
    filterset_class = TaskFilter
    search_fields = ["name", "description", "input"]
    ordering_fields = ["created_at", "updated_at", "name", "next_run_at"]
    ordering = ["-created_at", "-id"]
    lookup_value_converter = "uuid"
    queryset = Task.objects.none()

    def get_queryset(self) -> QuerySet[Task]:
        return Task.objects.visible_to(self.request.user).select_related("last_run").defer(*_UNUSED)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "pk" in kwargs:
            self._refer_to(kwargs["pk"])

    def _refer_to(self, task_id: UUID) -> None:
        """Link the stored idempotent response to the task: it contains the task's texts, so deletion withdraws it."""
        if (claim := self.request.claim) is not None:  # type: ignore[attr-defined]  # set by IdempotentMixin
            claim.reference = {"task_id": str(task_id)}

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    @property
    def _me(self) -> Principal:
        return principal_of(self.request)

    def _shown(self, tasks: list[Task], **more: Any) -> dict[str, Any]:
        return {**self.get_serializer_context(), "limits": task_service.limits([task.pk for task in tasks]), **more}

    def _response(self, task: Task, code: int = 200, secret: str = "") -> Response:
        return Response(NewTaskSerializer(task, context=self._shown([task], shown=secret)).data, code)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(TaskSerializer(page, many=True, context=self._shown(list(page))).data)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._response(self.get_object())

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        task, secret = task_service.create(
            self._me, values, values["schedule"] or self._manual(), paused=values["paused"], request_id=context.request_id.get()
        )
        self._refer_to(task.pk)
        return self._response(task, status.HTTP_201_CREATED, secret)

    def update(self, request: Request, *args: Any, partial: bool = False, **kwargs: Any) -> Response:
        task = self.get_object()
        serializer = self.get_serializer(task, data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        plan = values.get("schedule") if partial else values["schedule"] or self._manual()
        changed, secret = task_service.update(self._me, task.pk, values, plan, request_id=context.request_id.get())
        return self._response(changed, secret=secret)

    @extend_schema(responses=api_deleting.RESPONSES, parameters=[api_deleting.NOW], filters=False)
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete the task. It is hidden at once with its runs and their agent runs; its open run is cancelled.

        It is erased from the database after `DELETED_RETENTION_DAYS`, with its runs, attempts, steps, event logs,
        webhook deliveries and stored answers; `?now=true` does that at once. 202: its open run did not end within
        seconds; it is erased within minutes. Costs stay, without content.
        """
        now = api_deleting.wants_now(request)
        mine = Task.objects.filter(user=self._me.user) if now else Task.objects.visible_to(self._me.user)
        task = mine.filter(pk=self.kwargs["pk"]).first()
        if task is None:
            raise NotFound
        if now:
            return api_deleting.answer(deleting.erase_now(task))
        task_service.delete(task)
        return api_deleting.answer(True)

    def _manual(self) -> Plan:
        return Plan(Kind.MANUAL, time_zone=self._me.user.time_zone)

    # --- runs -----------------------------------------------------------------------------------

    @extend_schema(request=RunRequestSerializer, responses={202: RunSerializer}, filters=False)
    @action(detail=True, methods=["post"])
    def run(self, request: Request, pk: UUID | None = None) -> Response:
        """Run it now, whatever its schedule, paused or not.

        409 `run_in_progress` while a run is open: a task runs one at a time.
        """
        task = self.get_object()
        serializer = RunRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        made = task_service.run(self._me, task, serializer.validated_data["variables"], request_id=context.request_id.get())
        return Response(RunSerializer(made).data, status.HTTP_202_ACCEPTED)

    @extend_schema(
        request=None, filters=False, responses={200: RunSerializer, 202: OpenApiResponse(RunSerializer, "its worker has not answered yet")}
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: UUID | None = None) -> Response:
        """End the open run. Its output is kept and its usage is charged. The schedule continues: `pause` stops it."""
        run = task_service.cancel(self.get_object())
        deadline = time.monotonic() + _CANCEL_WAITS
        while run.status == Status.RUNNING and time.monotonic() < deadline:
            time.sleep(0.05)
            run.refresh_from_db()
        return Response(RunSerializer(run).data, 202 if run.status == Status.RUNNING else 200)

    @extend_schema(request=None, responses=TaskSerializer, filters=False)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID | None = None) -> Response:
        """Stop the schedule. An open run continues to its end, with its retries; `cancel` ends it."""
        task = self.get_object()
        task_service.pause(task)
        return self._response(task_service.get(self._me, task.pk))

    @extend_schema(request=None, responses=TaskSerializer, filters=False)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID | None = None) -> Response:
        """Continue the schedule from now, without the times that passed meanwhile.

        A single time that passed counts as missed.
        """
        task = self.get_object()
        task_service.resume(self._me, task, request_id=context.request_id.get())
        return self._response(task_service.get(self._me, task.pk))

    @extend_schema(request=None, responses=SecretSerializer, filters=False)
    @action(detail=True, methods=["post"], url_path="webhook-secret")
    def webhook_secret(self, request: Request, pk: UUID | None = None) -> Response:
        """Create a new signing secret. Only this response contains it; the previous one is invalid from now on."""
        return Response({"webhook_secret": task_service.new_secret(self.get_object())})

    @extend_schema(responses=RunSerializer(many=True), parameters=_PAGE, filters=False)
    @action(detail=True, methods=["get"], filter_backends=[])
    def runs(self, request: Request, pk: UUID | None = None) -> Response:
        """Return the task's runs, newest first."""
        runs = TaskRun.objects.filter(task=self.get_object())
        refuse_unknown_parameters(request, "cursor", "page_size", "status")
        if wanted := request.query_params.get("status"):
            if wanted not in Status.values:
                raise InvalidRequest(f"status must be one of {', '.join(Status.values)}.", param="status")
            runs = runs.filter(status=wanted)
        page = self.paginate_queryset(runs) or []
        return self.get_paginated_response(RunSerializer(page, many=True).data)

    @extend_schema(
        responses=RunDetailSerializer,
        filters=False,
        parameters=[OpenApiParameter("run_id", str, OpenApiParameter.PATH), _STEPS_AFTER],
    )
    @action(detail=True, methods=["get"], url_path="runs/<uuid:run_id>", filter_backends=[])
    def run_detail(self, request: Request, pk: UUID, run_id: UUID) -> Response:
        """Return one run: its attempts with their model and tool calls and costs, and the webhook's delivery.

        Where the texts of the steps have more than 4 MiB, `steps_next` has the further ones.
        """
        refuse_unknown_parameters(request, step_pages.PARAMETER)
        run = TaskRun.objects.filter(task=self.get_object(), pk=run_id).first()
        if run is None:
            raise NotFound
        return Response(RunDetailSerializer(run, context=self.get_serializer_context()).data)
