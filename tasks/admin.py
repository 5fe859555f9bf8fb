"""The admin of tasks, runs and webhook deliveries: view, cancel, run again, send again.

Inputs and outputs are content.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from accounts import principals
from accounts.authentication import Principal
from aiagents.core.admin import columns, filters
from aiagents.core.admin.inlines import ReadOnlyInline
from aiagents.core.admin.read_only import WithContent
from aiagents.core.errors import Conflict
from tasks import service as task_service
from tasks.models import ENDED, OPEN, Status, Task, TaskAttempt, TaskRun, WebhookDelivery
from tasks.runs import queue
from tasks.runs import store as task_runs


def run_again(task: Task, request_id: str) -> TaskRun:
    """Start a new run of the task for its owner and return it. Raises Busy while a run is open."""
    if task.deleted_at is not None:
        raise Conflict("This task was deleted.")
    return task_runs.open_run(task, TaskRun.Trigger.REQUEST, key_id=task.api_key_id, request_id=request_id)


# The columns of a task that may be long.
_LONG = ("input", "system_prompt", "variables")


@admin.register(Task)
class TaskAdmin(WithContent):
    list_display = [
        "name", columns.link("user", show="user__email"), "kind", columns.link("agent", show="agent__slug"),
        columns.state("status", order=False), "schedule", "next_run_at", columns.number("runs_count", "runs"), "created_at",
    ]  # fmt: skip
    list_filter = [
        "kind", "schedule", filters.empty("paused_at", "paused", "goes on", "paused"),
        filters.empty("deleted_at", "deleted", "there", "deleted"), "created_at",
    ]  # fmt: skip
    list_defer = (*_LONG, *(f"last_run__{name}" for name in ("input", "output", "variables", "error")))
    search_ids = ("agent",)
    search_contains = ("name",)
    search_people = ("user",)
    list_select_related = ["user", "agent", "last_run"]
    ordering = ["-created_at"]
    fields = [
        "id", "name", "user", columns.state("status"), "kind", "agent", columns.json("input"), columns.json("variables"),
        columns.json("system_prompt"), "description", "model", "goal", columns.json("parameters"), "schedule", "run_at", "every_seconds",
        "cron",
        "time_zone", "next_run_at", "paused_at", "max_retries", "retry_seconds", "max_seconds", "max_cost_usd", "webhook_url", "last_run",
        "runs_count", "created_at", "updated_at", "deleted_at",
    ]  # fmt: skip
    content_fields = (*fields[6:10],)
    actions = ["run_now", "cancel", "pause", "resume"]

    def _act(self, request: HttpRequest, tasks: QuerySet[Task], name: str, act: Any, done: str) -> None:
        def noted(task: Task) -> None:
            with transaction.atomic():
                act(task)
                self.note(request, f"task.{name}", task)

        self.each(request, tasks, noted, done)

    @admin.action(description="Run now (its owner pays)", permissions=["act"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        self._act(request, queryset, "run", lambda task: run_again(task, request.request_id), "{} queued.")  # type: ignore[attr-defined]  # the middleware sets request_id

    @admin.action(description="Cancel open runs", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        self._act(request, queryset, "cancel", task_service.cancel, "{} cancelled.")

    @admin.action(description="Pause", permissions=["act"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        self._act(request, queryset, "pause", task_service.pause, "{} paused.")

    @admin.action(description="Resume", permissions=["act"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        def act(task: Task) -> None:
            task_service.resume(owner(task), task, request_id=request.request_id)  # type: ignore[attr-defined]  # the middleware sets request_id

        self._act(request, queryset, "resume", act, "{} go on.")


def owner(task: Task) -> Principal:
    """Return the principal that the task's schedule uses: its user, with the key that saved it."""
    return principals.of_account(task.user, key_id=task.api_key_id)


class AttemptInline(ReadOnlyInline):
    model = TaskAttempt
    fields = readonly_fields = [
        "number", columns.state("status"), columns.text("worker"), "what_happened", "started_at", "ended_at", columns.json("error"),
    ]  # fmt: skip

    @admin.display(description="steps")
    def what_happened(self, attempt: TaskAttempt) -> Any:
        return columns.page("agents", "agentrun", attempt.agent_run_id, "steps")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("tasks.view_taskrun")


@admin.register(TaskRun)
class TaskRunAdmin(WithContent):
    list_display = [
        "id", columns.link("task", show="task__name"), "number", columns.link("user", show="user__email"), columns.state("status"),
        "trigger",
        "attempt", columns.text("model"), columns.money("cost_usd", "cost"), "queued_at", "started_at", "ended_at",
    ]  # fmt: skip
    list_filter = ["status", "trigger", "simulated", "created_at"]
    search_ids = ("task",)
    search_requests = ("request_id",)
    list_defer = ("input", "output", "variables", "error", *(f"task__{name}" for name in _LONG))
    search_exact = ("worker",)
    search_contains = ("task__name",)
    search_people = ("user",)
    list_select_related = ["task", "user"]
    ordering = ["-created_at"]
    inlines = [AttemptInline]
    fields = [
        "id", "task", "number", "user", "trigger", columns.state("status"), "attempt", "model", "finish_reason",
        columns.number("input_tokens"), columns.number("output_tokens"), columns.money("cost_usd"), "simulated", "request_id",
        columns.json("error"), columns.json("variables"), columns.json("input"), columns.json("output"), "worker", "heartbeat_at",
        "scheduled_for", "not_before", "created_at", "queued_at", "started_at", "cancel_asked_at", "ended_at",
    ]  # fmt: skip
    content_fields = (*fields[15:18],)
    actions = ["requeue", "cancel"]

    @admin.action(description="Requeue, or run again if it ended (its owner pays)", permissions=["act"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[TaskRun]) -> None:
        def act(run: TaskRun) -> None:
            with transaction.atomic():
                if run.status in ENDED:
                    run_again(run.task, request.request_id)  # type: ignore[attr-defined]  # the middleware sets request_id
                elif run.status == Status.SCHEDULED:
                    task_runs.requeue(run.pk, was=Status.SCHEDULED)
                elif run.status == Status.QUEUED:
                    queue.send(run.pk)
                else:
                    raise Conflict(f"A run that is {run.get_status_display()} belongs to a worker. Cancel it first.")
                self.note(request, "taskrun.requeue", run)

        self.each(request, queryset, act, "{} in the queue.")

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[TaskRun]) -> None:
        def act(run: TaskRun) -> None:
            if run.status not in OPEN:
                raise Conflict("This run has ended already.")
            with transaction.atomic():
                task_runs.cancel(run.pk)
                self.note(request, "taskrun.cancel", run)

        self.each(request, queryset, act, "{} cancelled, or requested to end.")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(WithContent):
    list_display = [
        "id", columns.link("task", show="task__name"), columns.link("run", order=False), "event", columns.state("state"),
        columns.text("url"),
        "attempts", "response_status", columns.text("error"), "next_attempt_at", "delivered_at", "created_at",
    ]  # fmt: skip
    list_filter = ["state", "created_at"]
    search_requests = ("run__request_id",)
    list_defer = ("body", *(f"run__{name}" for name in ("input", "output", "variables", "error")), *(f"task__{name}" for name in _LONG))
    search_ids = ("task", "run")
    search_contains = ("task__name", "url")
    search_people = ("task__user",)
    list_select_related = ["task", "run"]
    ordering = ["-created_at"]
    fields = [
        "id", "task", "run", "event", "state", "url", "attempts", "next_attempt_at", "response_status", "error", "created_at",
        "delivered_at",
        columns.json("body"),
    ]  # fmt: skip
    content_fields = (fields[-1],)
    actions = ["send_again"]

    @admin.action(description="Send again", permissions=["act"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        State = WebhookDelivery.State

        def act(delivery: WebhookDelivery) -> None:
            with transaction.atomic():
                rows = WebhookDelivery.objects.filter(
                    Q(state=State.FAILED) | Q(state=State.PENDING, next_attempt_at__gt=Now()), pk=delivery.pk
                )
                if not rows.update(state=State.PENDING, next_attempt_at=Now(), error=""):
                    raise Conflict("It was delivered, or is being sent now.")
                queue.send_delivery(delivery.pk)
                self.note(request, "webhook.send_again", delivery)

        self.each(request, queryset, act, "{} sent again.")
