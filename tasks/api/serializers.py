"""Serializers of `/api/v1/tasks/`. A field that a serializer does not declare is 400."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import User
from agents.definitions import definition as definitions
from aiagents.core.drf.base import StrictFieldsMixin
from aiagents.core.drf.typed_dicts import serializer_of
from aiagents.core.errors import AppError, InvalidRequest, NotFound
from aiagents.core.expansion import TooLong
from aiagents.core.jsonio import money
from aiagents.core.outbound import guard as outbound
from billing.catalogue import snapshot as catalogue
from billing.money.amounts import MOST_COST_USD
from tasks import variables as placeholders
from tasks import webhooks
from tasks.api import run_detail
from tasks.api.fields import ParametersSerializer, ScheduleField, VariablesField
from tasks.models import Status, Task, TaskRun
from tasks.runs import as_json as run_json

_INPUT = 200_000
# Only for a prompt: an agent has its own, so a task with an agent must not set them.
_OF_A_PROMPT = ("system_prompt", "model", "goal", "parameters")


class MoneyText(serializers.DecimalField):
    """USD as a decimal string, in requests and responses."""

    def __init__(self, **options: Any) -> None:
        bounds = {"min_value": Decimal(0), "max_value": Decimal(1_000_000)} | options
        super().__init__(max_digits=18, decimal_places=12, **bounds)

    def to_representation(self, value: Any) -> str:
        return money(Decimal(value))


class MonthlyBudgetField(MoneyText):
    """The budget of a task, from the `limits` of the serializer's context: the task's row does not have it."""

    def get_attribute(self, instance: Task) -> Decimal | None:
        return self.context.get("limits", {}).get(instance.pk)


class ErrorLineSerializer(serializers.Serializer):
    type = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class LastRunSerializer(serializers.Serializer):
    """The last run of a task, as lists show it."""

    id = serializers.UUIDField()
    number = serializers.IntegerField()
    status = serializers.ChoiceField(Status.choices)
    attempt = serializers.IntegerField()
    cost_usd = serializers.CharField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    error = ErrorLineSerializer(allow_null=True)


class TaskSerializer(StrictFieldsMixin, serializers.ModelSerializer):
    """A prompt, or an agent (`agent_id`) with its input; a schedule; limits; a webhook."""

    refusals: ClassVar[dict[str, str]] = {
        "agent_id": "there is no such agent, or the task brings what only an agent may bring",
        "model": "there is no such model, or it cannot be used any more",
        "input": "a placeholder in it is unknown, or it is too long once filled in",
        "variables": "a name or value is not what a placeholder may have",
        "schedule": "its kind lacks a field, has one too many, or names a time, cron line or zone that cannot be",
        "parameters": "a parameter is unknown or out of its range",
        "webhook_url": "it is no address that may be reached",
        "goal": "an agent has its own",
        "system_prompt": "an agent has its own",
        "max_cost_usd": "it is 0 or more than the maximum",
        "monthly_budget_usd": "it is larger than the maximum",
    }
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=2000, allow_blank=True, default="")
    agent_id = serializers.UUIDField(allow_null=True, default=None, help_text="your own agent or a shared one; null: `input` is a prompt")
    input = serializers.CharField(max_length=_INPUT, trim_whitespace=False, help_text="`{name}` is filled from `variables`")
    variables = VariablesField(default=dict)
    system_prompt = serializers.CharField(max_length=100_000, allow_blank=True, trim_whitespace=False, default="")
    model = serializers.CharField(max_length=100, default="auto", help_text="`auto`, `auto:goal` or a model's id; for a prompt")
    goal = serializers.ChoiceField(User.Goal.choices, allow_blank=True, default="", help_text="empty: yours")
    parameters = ParametersSerializer(default=dict)
    schedule = ScheduleField(default=None)
    max_retries = serializers.IntegerField(min_value=0, max_value=10, default=2)
    retry_seconds = serializers.IntegerField(min_value=1, max_value=3600, default=30)
    max_seconds = serializers.IntegerField(min_value=1, max_value=settings.TASK_MAX_SECONDS, default=300)
    max_cost_usd = MoneyText(max_value=MOST_COST_USD, allow_null=True, default=None, help_text="of one run with all its attempts")
    monthly_budget_usd = MonthlyBudgetField(allow_null=True, default=None, help_text="of all runs of the task in a month")
    webhook_url = serializers.CharField(
        max_length=500, allow_blank=True, default="", help_text="receives a signed message about every end of a run"
    )
    webhook_secret = serializers.CharField(
        max_length=200, write_only=True, required=False,
        help_text="your own signing secret (`whsec_…`); left out, one is made and shown once in the answer",
    )  # fmt: skip
    paused = serializers.BooleanField(default=False, help_text="chosen on creation; `pause` and `resume` change it")
    status = serializers.ChoiceField(Status.choices, read_only=True)
    last_run = serializers.SerializerMethodField()

    class Meta:
        model = Task
        fields = [
            "id", "name", "description", "kind", "agent_id", "input", "variables", "system_prompt", "model", "goal", "parameters",
            "schedule", "max_retries", "retry_seconds", "max_seconds", "max_cost_usd", "monthly_budget_usd", "webhook_url",
            "webhook_secret", "paused", "status", "next_run_at", "last_run", "runs_count", "created_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = ["id", "kind", "status", "next_run_at", "runs_count", "created_at", "updated_at"]

    @extend_schema_field(LastRunSerializer(allow_null=True))
    def get_last_run(self, task: Task) -> dict[str, Any] | None:
        return run_json.brief(task.last_run)

    def validate_model(self, value: str) -> str:
        if value == "auto" or (value.startswith("auto:") and value[5:] in User.Goal.values):
            return value
        try:
            card = catalogue.current_sync().get(value)
        except AppError as exc:
            raise serializers.ValidationError(exc.message) from exc
        if card.usable and not card.embeds:
            return card.slug
        raise serializers.ValidationError("This model cannot be used any more, or it makes embeddings only.")

    def validate_webhook_url(self, value: str) -> str:
        """Refuse a URL that is certainly invalid; each delivery checks the addresses that its name resolves to."""
        if value:
            try:
                outbound.check_spelling(value, allow_private=settings.WEBHOOK_ALLOW_PRIVATE_ADDRESS)
            except InvalidRequest as exc:
                raise serializers.ValidationError(exc.message) from exc
        return value

    def validate_webhook_secret(self, value: str) -> str:
        try:
            return webhooks.check_secret(value)
        except ValueError as exc:
            raise serializers.ValidationError("Must be `whsec_` and 24 to 64 bytes in base64.") from exc

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        agent_id = attrs.get("agent_id", self.instance.agent_id if self.instance else None)
        if agent_id is not None:
            own = [name for name in _OF_A_PROMPT if name in self.initial_data and self.initial_data[name] not in ("", "auto", {})]
            if own:
                raise serializers.ValidationError({name: ["An agent has its own. Leave this field out."] for name in own})
        if attrs.get("agent_id") is not None:
            try:
                definitions.visible(self.context["request"].user, agent_id=agent_id)
            except NotFound as exc:
                raise serializers.ValidationError({"agent_id": [exc.message]}) from exc
        self._fits(attrs)
        if self.instance is not None and "paused" in self.initial_data and attrs["paused"] != (self.instance.paused_at is not None):
            raise serializers.ValidationError({"paused": ["Use `pause` and `resume`."]})
        return attrs

    def _fits(self, attrs: dict[str, Any]) -> None:
        """Refuse an input that is too long after filling. Each run checks it again with its variables and time."""
        text = attrs.get("input", self.instance.input if self.instance else "")
        variables = attrs.get("variables", self.instance.variables if self.instance else {})
        try:
            placeholders.filled(text, variables, timezone.now(), "UTC")
        except TooLong as exc:
            raise serializers.ValidationError({"input": [exc.message]}) from exc

    def to_representation(self, instance: Task) -> dict[str, Any]:
        found = super().to_representation(instance)
        if instance.paused_at is not None:
            found["next_run_at"] = None
        return found


class NewTaskSerializer(TaskSerializer):
    """The one response that contains a new signing secret."""

    webhook_secret = serializers.CharField(required=False, help_text="only where one was made with this request")  # type: ignore[assignment]  # a field of the response alone

    def to_representation(self, instance: Task) -> dict[str, Any]:
        found = super().to_representation(instance)
        found.pop("webhook_secret", None)
        if shown := self.context.get("shown"):
            found["webhook_secret"] = shown
        return found


class RunRequestSerializer(StrictFieldsMixin, serializers.Serializer):
    """Variables of this run, which override the task's."""

    refusals: ClassVar[dict[str, str]] = {
        "variables": "a name or value is not what a placeholder may have",
    }
    variables = VariablesField(default=dict)


class SecretSerializer(serializers.Serializer):
    """Shown once."""

    webhook_secret = serializers.CharField()


class UsageLineSerializer(serializers.Serializer):
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()


class RunSerializer(serializers.Serializer):
    """Describes a run for OpenAPI; `tasks.runs.as_json` creates the JSON."""

    id = serializers.UUIDField()
    task_id = serializers.UUIDField()
    number = serializers.IntegerField(help_text="of this task's runs")
    trigger = serializers.ChoiceField(TaskRun.Trigger.choices)
    status = serializers.ChoiceField(Status.choices)
    scheduled_for = serializers.DateTimeField(allow_null=True)
    attempt = serializers.IntegerField()
    next_attempt_at = serializers.DateTimeField(allow_null=True, help_text="while it waits to be tried again")
    input = serializers.CharField(help_text="as it was sent, variables filled")
    variables = serializers.DictField()
    output = serializers.CharField()
    finish_reason = serializers.CharField()
    error = serializers.DictField(allow_null=True)
    model = serializers.CharField()
    usage = UsageLineSerializer()
    cost_usd = serializers.CharField(help_text="of all attempts, US dollars as a decimal string")
    simulated = serializers.BooleanField()
    request_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: TaskRun) -> dict[str, Any]:
        return run_json.whole(instance)


class RunDetailSerializer(RunSerializer):
    """A run with its attempts, steps and delivery. The context has the request."""

    attempts = serializer_of(run_detail.Attempt)(many=True)
    steps_next = serializers.URLField(
        allow_null=True, help_text="the same run with the steps after the first 4 MiB of texts; null after the last"
    )
    webhook = serializer_of(run_detail.Delivery)(allow_null=True)

    def to_representation(self, instance: TaskRun) -> dict[str, Any]:
        return run_detail.as_json(instance, self.context["request"])
