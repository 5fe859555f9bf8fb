"""Tasks (work on a schedule), their runs and attempts, and webhook deliveries."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.models import Agent, AgentRun
from aiagents.core.db.money_field import MoneyField
from aiagents.core.ids import uuid7
from billing.models import MONEY


class Status(models.TextChoices):
    """The status of a task or a run. A run is never `paused`, and `scheduled` while it waits for its next attempt."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING_APPROVAL = "waiting_approval"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


OPEN = (Status.SCHEDULED, Status.QUEUED, Status.RUNNING, Status.WAITING_APPROVAL)
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, user: Any) -> TaskQuerySet:
        return self.filter(user=user, deleted_at=None)

    def with_status(self, status: str) -> TaskQuerySet:
        """Return the tasks with this `status`: the same rules as the property, in SQL."""
        idle = Q(last_run=None) | Q(last_run__status__in=ENDED)
        match status:
            case Status.PAUSED:
                return self.filter(idle, ~Q(paused_at=None) | Q(next_run_at=None, last_run=None))
            case Status.SCHEDULED:
                return self.filter(Q(last_run__status=status) | (idle & Q(paused_at=None, next_run_at__isnull=False)))
            case Status.SUCCEEDED | Status.FAILED | Status.CANCELLED:
                return self.filter(next_run_at=None, paused_at=None, last_run__status=status)
        return self.filter(last_run__status=status)


class Task(models.Model):
    """A prompt, or an agent with its input, and a schedule. A task has at most one open run."""

    class Kind(models.TextChoices):
        PROMPT = "prompt"
        AGENT = "agent"

    class Schedule(models.TextChoices):
        MANUAL = "manual", "only when somebody says so"
        NOW = "now", "once, at once"
        AT = "at", "once, at a time"
        INTERVAL = "interval", "every so many seconds"
        CRON = "cron", "by a cron line"

    RECURRING = (Schedule.INTERVAL, Schedule.CRON)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="tasks")
    # The API key that saved the task last: its runs need a valid key and count in its budget. Empty: a signed-in user.
    api_key_id = models.UUIDField(null=True, blank=True, editable=False)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, max_length=2000)
    kind = models.CharField(max_length=6, choices=Kind, default=Kind.PROMPT, editable=False)
    # The tasks of a deleted agent stay; their runs then fail with an error.
    agent = models.ForeignKey(Agent, models.SET_NULL, null=True, blank=True, related_name="tasks")
    input = models.TextField(help_text="the prompt, or what the agent is told; {name} is filled from the variables")
    variables = models.JSONField(default=dict, blank=True)
    # Only for a prompt; an agent has its own.
    system_prompt = models.TextField(blank=True)
    model = models.CharField(max_length=100, default="auto", blank=True)
    goal = models.CharField(max_length=8, blank=True)
    parameters = models.JSONField(default=dict, blank=True, help_text="temperature, top_p, max_output_tokens, reasoning_effort, stop")

    schedule = models.CharField(max_length=8, choices=Schedule, default=Schedule.MANUAL)
    run_at = models.DateTimeField(null=True, blank=True)
    every_seconds = models.PositiveIntegerField(null=True, blank=True)
    cron = models.CharField(max_length=100, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    # When beat starts it next; empty: only by hand.
    next_run_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)

    max_retries = models.PositiveSmallIntegerField(default=2, help_text="attempts after the first, for failures that may pass")
    retry_seconds = models.PositiveIntegerField(default=30, help_text="before the first retry; twice as long before each further one")
    max_seconds = models.PositiveIntegerField(default=300, help_text="of one attempt, waiting for approval not counted")
    max_cost_usd = models.DecimalField(**MONEY, null=True, blank=True, help_text="of one run, all its attempts together")

    webhook_url = models.CharField(max_length=500, blank=True)
    webhook_secret_encrypted = models.TextField(blank=True, editable=False)

    last_run = models.ForeignKey("TaskRun", models.SET_NULL, null=True, blank=True, editable=False, related_name="+")
    runs_count = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The owner requested that it is erased before the retention of deleted tasks ends.
    erase_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TaskQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["user", "-created_at"]),
            models.Index(fields=["deleted_at"], name="task_deleted", condition=~Q(deleted_at=None)),
            models.Index(fields=["next_run_at"], name="task_due", condition=Q(next_run_at__isnull=False, paused_at=None, deleted_at=None)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def paused(self) -> bool:
        return self.paused_at is not None

    @property
    def status(self) -> str:
        """Return the status of the open run, else of the schedule, else of the last run.

        A task that runs only by hand and never ran is `paused`.
        """
        last = self.last_run
        if last is not None and last.status in OPEN:
            return last.status
        if self.paused_at is not None:
            return Status.PAUSED
        if self.next_run_at is not None:
            return Status.SCHEDULED
        return last.status if last is not None else Status.PAUSED


class TaskRun(models.Model):
    """One run of a task with all its attempts. While it runs, only the worker with its `claim` may write it."""

    class Trigger(models.TextChoices):
        SCHEDULE = "schedule"
        REQUEST = "request"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey(Task, models.CASCADE, related_name="runs")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="task_runs")
    api_key_id = models.UUIDField(null=True, blank=True)
    number = models.PositiveIntegerField(help_text="of this task's runs")
    trigger = models.CharField(max_length=8, choices=Trigger)
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    request_id = models.CharField(max_length=64, blank=True)
    # The time of the schedule; empty for a run that was started by hand.
    scheduled_for = models.DateTimeField(null=True, blank=True)
    variables = models.JSONField(default=dict, blank=True)
    input = models.TextField(blank=True, help_text="as it was sent, variables filled")
    output = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    error = models.JSONField(null=True, blank=True)
    model = models.CharField(max_length=100, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = MoneyField(default=Decimal(0))
    simulated = models.BooleanField(default=False)
    # The fencing token: every claim raises it, so a worker with an older claim can no longer write.
    claim = models.PositiveIntegerField(default=0, editable=False)
    worker = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_asked_at = models.DateTimeField(null=True, blank=True)
    # The earliest time of the next attempt.
    not_before = models.DateTimeField(null=True, blank=True)
    # The last event in the run's event log.
    last_seq = models.IntegerField(default=-1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="one_task_run_per_number"),
            models.UniqueConstraint(
                fields=["task"],
                condition=Q(status__in=["scheduled", "queued", "running", "waiting_approval"]),
                name="one_open_run_per_task",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "-created_at"]),
            models.Index(fields=["user"], name="task_run_running_of_user", condition=Q(status="running")),
            models.Index(fields=["request_id"], name="task_run_request", condition=~Q(request_id="")),
            models.Index(
                fields=["status", "queued_at"],
                name="task_run_open",
                condition=Q(status__in=["scheduled", "queued", "running", "waiting_approval"]),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.number} {self.status}"


class TaskAttempt(models.Model):
    """One attempt of a run. The agent run contains its steps; its calls have that run's id as their group."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(TaskRun, models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    # Known before the agent run exists, so that the sweeper can find the agent run of a dead worker.
    agent_run = models.OneToOneField(AgentRun, models.DO_NOTHING, db_constraint=False, related_name="task_attempt")
    status = models.CharField(max_length=16, choices=Status, default=Status.RUNNING)
    error = models.JSONField(null=True, blank=True)
    worker = models.CharField(max_length=100, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="one_attempt_per_number")]

    def __str__(self) -> str:
        return f"attempt {self.number} {self.status}"


class WebhookDelivery(models.Model):
    """One message to a task's webhook. Its bytes never change: every attempt sends the same body with the same id."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task = models.ForeignKey(Task, models.CASCADE, related_name="deliveries")
    run = models.ForeignKey(TaskRun, models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=40)
    url = models.CharField(max_length=500)
    body = models.TextField()
    state = models.CharField(max_length=9, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    # No attempt starts before this time; a sender moves it forward while it sends.
    next_attempt_at = models.DateTimeField(default=timezone.now)
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "webhook deliveries"
        constraints = [models.UniqueConstraint(fields=["run", "event"], name="one_delivery_per_run_and_event")]
        indexes = [models.Index(fields=["next_attempt_at"], name="delivery_pending", condition=Q(state="pending"))]

    def __str__(self) -> str:
        return f"{self.event} {self.state}"
