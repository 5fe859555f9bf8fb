"""Vendor connections, agents and their versions, HTTP tools, and agent runs with their steps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from aiagents.core.db.money_field import MoneyField
from aiagents.core.ids import uuid7
from billing.models import MONEY


class ProviderConnection(models.Model):
    """A base URL and a key, set by staff only. The key is encrypted at rest and never shown again."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"
        GOOGLE = "google", "Google"
        OPENAI_COMPATIBLE = "openai_compatible", "OpenAI-compatible"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=20, choices=Kind)
    base_url = models.URLField(max_length=300)
    api_key_encrypted = models.TextField(blank=True, editable=False)
    # Some compatible servers never send a finish_reason or usage on a stream.
    requires_finish_reason = models.BooleanField(default=True)
    sends_usage = models.BooleanField(default=True)
    passes_through = models.BooleanField(
        default=False, help_text="chat completions reach an OpenAI-compatible server as their client sent them, unknown fields included"
    )
    allow_private_address = models.BooleanField(default=False, help_text="for servers in your own network, such as Ollama")
    is_default = models.BooleanField(default=False, help_text="replaces the vendor's key from the environment")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class AgentQuerySet(models.QuerySet["Agent"]):
    def visible_to(self, user: Any) -> AgentQuerySet:
        """Return the agents that `user` may see and run: their own, and those that others share."""
        return self.filter(Q(user=user) | Q(visibility=Agent.Visibility.SHARED, enabled=True), deleted_at=None)

    def editable_by(self, user: Any) -> AgentQuerySet:
        return self.filter(user=user, deleted_at=None)


class Agent(models.Model):
    """A named agent. `version` is its current definition, `versions` are all of them."""

    class Visibility(models.TextChoices):
        PRIVATE = "private"
        SHARED = "shared"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="agents")
    # `model: "agent:<slug>"` in the compatible APIs.
    slug = models.SlugField(max_length=60)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, max_length=2000)
    visibility = models.CharField(max_length=7, choices=Visibility, default=Visibility.PRIVATE)
    version = models.ForeignKey("AgentVersion", models.PROTECT, null=True, editable=False, related_name="+")
    enabled = models.BooleanField(default=True, help_text="staff can stop an agent without deleting it")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Its owner requested the erasure before the end of the retention time.
    erase_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Its content is erased; the row keeps the slug and the version numbers that other runs name.
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = AgentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        permissions = [("share_agent", "Can share agents with everybody")]
        constraints = [models.UniqueConstraint(fields=["slug"], condition=Q(deleted_at=None), name="one_agent_per_slug")]
        indexes = [
            models.Index(fields=["user", "-created_at"]),
            models.Index(fields=["deleted_at"], name="agent_deleted", condition=~Q(deleted_at=None)),
        ]

    def __str__(self) -> str:
        return self.slug


class AgentVersion(models.Model):
    """One definition of an agent. It never changes: a change makes a new version. Each run names its version."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    system_prompt = models.TextField(blank=True)
    model = models.CharField(max_length=100, default="auto")
    goal = models.CharField(max_length=8, blank=True)
    parameters = models.JSONField(default=dict, blank=True, help_text="temperature, top_p, max_output_tokens, reasoning_effort, stop")
    tools = models.JSONField(default=list, blank=True, help_text='[{"name": "calculator", "approval": "never" or "always"}]')
    max_steps = models.PositiveSmallIntegerField(default=10, help_text="model calls of one run")
    max_cost_usd = models.DecimalField(**MONEY, null=True, blank=True, help_text="of one run")
    max_seconds = models.PositiveIntegerField(default=300, help_text="of one run, waiting for approval not counted")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["agent", "number"], name="one_version_per_number")]

    def __str__(self) -> str:
        return f"version {self.number}"


class HttpTool(models.Model):
    """An HTTP endpoint that staff configure as a tool. Its headers are encrypted at rest and never shown."""

    class Method(models.TextChoices):
        GET = "GET"
        POST = "POST"
        PUT = "PUT"
        PATCH = "PATCH"
        DELETE = "DELETE"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64, unique=True, validators=[RegexValidator(r"^[a-z][a-z0-9_]*$")])
    description = models.TextField(max_length=2000, help_text="what the model reads to know when to use it")
    method = models.CharField(max_length=6, choices=Method, default=Method.GET)
    url = models.CharField(max_length=500, help_text="https://… ; {name} in its path is filled from the arguments, escaped")
    parameters = models.JSONField(default=dict, help_text="JSON Schema of the arguments")
    headers_encrypted = models.TextField(blank=True, editable=False)
    timeout_seconds = models.PositiveSmallIntegerField(default=20)
    max_bytes = models.PositiveIntegerField(default=200_000, help_text="of the answer that the model gets to read")
    needs_approval = models.BooleanField(default=True, help_text="every call waits for a person")
    repeatable = models.BooleanField(
        default=False, help_text="calling it twice does no harm; else a call that may have happened is not repeated"
    )
    allow_private_address = models.BooleanField(default=False, help_text="for services in your own network")
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "HTTP tool"

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from agents.tools import checks  # imports an HTTP client and parsers that only staff's forms need

        if wrong := checks.wrong_with(self):
            raise ValidationError(wrong)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the tool. A change of the URL's host deletes the stored headers, so that no other host receives them."""
        before = None if self._state.adding else HttpTool.objects.filter(pk=self.pk).values_list("url", "headers_encrypted").first()
        if before and before[1] == self.headers_encrypted != "" and _origin(before[0]) != _origin(self.url):
            self.headers_encrypted = ""
            if (named := kwargs.get("update_fields")) is not None:
                kwargs["update_fields"] = {*named, "headers_encrypted"}
        super().save(*args, **kwargs)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


class AgentRun(models.Model):
    """One run of an agent, or of a prompt without an agent (a task's), on any surface. `steps` are its calls.

    `state` is what another process needs to continue after an approval. It is empty once the run has ended.
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        WAITING_APPROVAL = "waiting_approval"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

    OPEN = (Status.RUNNING, Status.WAITING_APPROVAL)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, models.CASCADE, null=True, blank=True, related_name="runs")
    version = models.ForeignKey(AgentVersion, models.PROTECT, null=True, blank=True, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="agent_runs")
    api_key_id = models.UUIDField(null=True, blank=True)
    conversation_id = models.UUIDField(null=True, blank=True)
    message_id = models.UUIDField(null=True, blank=True)
    task_id = models.UUIDField(null=True, blank=True)
    # Hidden since the deletion of its conversation, task or agent; erased later.
    hidden_at = models.DateTimeField(null=True, blank=True, editable=False)
    surface = models.CharField(max_length=10)
    request_id = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.RUNNING)
    input = models.TextField(blank=True)
    output = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    error = models.JSONField(null=True, blank=True)
    state = models.JSONField(default=dict, blank=True, editable=False)
    model = models.CharField(max_length=100, blank=True)
    steps_done = models.PositiveSmallIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = MoneyField(default=Decimal(0))
    simulated = models.BooleanField(default=False)
    # The last heartbeat of its process.
    heartbeat_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["user", "-created_at"]),
            models.Index(fields=["agent", "-created_at"]),
            models.Index(fields=["heartbeat_at"], name="agent_run_running", condition=Q(status="running")),
            models.Index(fields=["message_id"], name="agent_run_message", condition=~Q(message_id=None)),
            models.Index(fields=["request_id"], name="agent_run_request", condition=~Q(request_id="")),
            models.Index(fields=["conversation_id"], name="agent_run_conversation", condition=~Q(conversation_id=None)),
            models.Index(fields=["task_id"], name="agent_run_task", condition=~Q(task_id=None)),
            models.Index(fields=["hidden_at"], name="agent_run_hidden", condition=~Q(hidden_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.id}"


class AgentStep(models.Model):
    """One model call or one tool call of a run, in order."""

    class Kind(models.TextChoices):
        MODEL = "model"
        TOOL = "tool"

    class Status(models.TextChoices):
        RUNNING = "running"
        WAITING = "waiting"
        OK = "ok"
        ERROR = "error"
        DENIED = "denied"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(AgentRun, models.CASCADE, related_name="steps")
    number = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=5, choices=Kind)
    status = models.CharField(max_length=9, choices=Status, default=Status.RUNNING)
    name = models.CharField(max_length=100, help_text="the model or the tool")
    # The model's id of a tool call; the ledger's id of a model call.
    tool_call_id = models.CharField(max_length=200, blank=True)
    call_id = models.UUIDField(null=True, blank=True)
    input = models.JSONField(default=dict, blank=True)
    output = models.TextField(blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = MoneyField(default=Decimal(0))
    latency_ms = models.PositiveIntegerField(default=0)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="one_step_per_number")]

    def __str__(self) -> str:
        return f"{self.number} {self.kind} {self.name}"


class ModelRule(models.Model):
    """A rule of a model that its vendor stated by a refusal (agents/providers/model_rules.py)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    model = models.CharField(max_length=100, help_text="slug")
    rule = models.CharField(max_length=40, help_text="name in the table of rules")
    message = models.CharField(max_length=500, blank=True, help_text="the vendor's last words, cleaned")
    refusals = models.PositiveBigIntegerField(default=0)
    repeated = models.PositiveBigIntegerField(default=0, help_text="of them sent once more in the form that the rule asks for")
    first_at = models.DateTimeField(default=timezone.now, editable=False)
    last_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-last_at"]
        verbose_name, verbose_name_plural = "rule of a model", "rules of models"
        constraints = [models.UniqueConstraint(fields=["model", "rule"], name="one_row_per_model_rule")]

    def __str__(self) -> str:
        return f"{self.model}: {self.rule}"
