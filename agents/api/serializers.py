"""Serializers of `/api/v1/agents/`. Unknown fields are refused with 400."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import User
from agents.models import Agent, AgentVersion
from agents.routing.candidates import GOALS
from agents.tools import registry
from aiagents.core.drf.base import StrictFieldsMixin
from aiagents.core.errors import AppError
from aiagents.core.jsonio import money
from billing.catalogue import snapshot as catalogue
from billing.money.amounts import CostField

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_MOST_PROMPT = 100_000


def _finite(value: float) -> None:
    if not math.isfinite(value):
        raise serializers.ValidationError("A finite number is required.")


class StopField(serializers.ListField):
    """A list whose length is checked before its items."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and len(data) > (self.max_length or 0):
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class ParametersSerializer(StrictFieldsMixin, serializers.Serializer):
    """Sampling and length of each model call. Missing fields are the model's defaults."""

    temperature = serializers.FloatField(min_value=0, max_value=2, required=False, validators=[_finite])
    top_p = serializers.FloatField(min_value=0, max_value=1, required=False, validators=[_finite])
    max_output_tokens = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False)
    reasoning_effort = serializers.ChoiceField(EFFORTS, required=False)
    stop = StopField(child=serializers.CharField(max_length=200, trim_whitespace=False), min_length=1, max_length=4, required=False)


class GrantSerializer(StrictFieldsMixin, serializers.Serializer):
    """A tool that the agent may use."""

    name = serializers.CharField(max_length=64, help_text="a name from `GET tools`")
    approval = serializers.ChoiceField(
        [("never", "never"), ("always", "always")],
        default="never",
        help_text="`always`: every call waits for a person. Some tools always do (`needs_approval` in `GET tools`).",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # DRF treats these as partial in a PATCH, but a grant must be complete.
        if "name" not in attrs:
            raise serializers.ValidationError({"name": ["This field is required."]})
        return {"approval": "never"} | attrs


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["0.25000000"]})
class CostText(CostField):
    """A CostField that is encoded as a decimal string."""

    def to_representation(self, value: Decimal) -> str:
        return money(value)


class DefinitionSerializer(serializers.Serializer):
    """The definition of an agent. Every change of it makes a new version."""

    system_prompt = serializers.CharField(max_length=_MOST_PROMPT, allow_blank=True, trim_whitespace=False, default="")
    model = serializers.CharField(max_length=100, default="auto", help_text="a model's id, `auto`, or `auto:` and a goal")
    goal = serializers.ChoiceField([("", "the user's own"), *User.Goal.choices], allow_blank=True, default="", help_text="for `auto`")
    parameters = ParametersSerializer(default=dict)
    tools = GrantSerializer(many=True, default=list, max_length=settings.AGENT_MAX_TOOLS)  # type: ignore[call-arg]  # the list takes it
    max_steps = serializers.IntegerField(min_value=1, default=10, help_text="model calls of one run")
    max_cost_usd = CostText(allow_null=True, default=None, help_text="of one run, in US dollars")
    max_seconds = serializers.IntegerField(min_value=1, default=300, help_text="of one run, waiting for approval not counted")

    def validate_model(self, value: str) -> str:
        if value == "auto" or (value.startswith("auto:") and value.removeprefix("auto:") in GOALS):
            return value
        try:
            card = catalogue.current_sync().get(value)
        except AppError as exc:
            raise serializers.ValidationError(exc.message) from exc
        if not card.usable:
            instead = f" Use {card.replaced_by}." if card.replaced_by else ""
            raise serializers.ValidationError(f"This model is no longer available.{instead}")
        if card.embeds:
            raise serializers.ValidationError("This model makes embeddings and cannot write text.")
        return card.slug

    def validate_parameters(self, value: dict[str, Any]) -> dict[str, Any]:
        return dict(value)

    def validate_tools(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = [row["name"] for row in value]
        if len(set(names)) != len(names):
            raise serializers.ValidationError("A tool appears twice.")
        known = registry.tools_for_sync(names)
        if missing := [name for name in names if name not in known]:
            raise serializers.ValidationError(f"The tool {missing[0]!r} does not exist.")
        return [{"name": row["name"], "approval": row["approval"]} for row in value]

    def validate_max_steps(self, value: int) -> int:
        return _at_most(value, settings.AGENT_MAX_STEPS)

    def validate_max_seconds(self, value: int) -> int:
        return _at_most(value, settings.AGENT_MAX_SECONDS)


def _at_most(value: int, most: int) -> int:
    if value > most:
        raise serializers.ValidationError(f"This installation allows at most {most}.")
    return value


class AgentSerializer(StrictFieldsMixin, DefinitionSerializer):
    """An agent with its names, its visibility and the definition of its current version."""

    refusals: ClassVar[dict[str, str]] = {
        "model": "the model does not exist, is no longer available, makes embeddings, or cannot use the tools",
        "tools": "a tool is unknown or appears twice",
        "slug": "another agent has it (`slug_taken`)",
        "max_steps": "this installation allows fewer",
        "max_seconds": "this installation allows fewer",
        "parameters": "a number is not finite",
        "max_cost_usd": "it is 0 or more than may be requested",
    }
    id = serializers.UUIDField(read_only=True)
    slug = serializers.RegexField(
        r"^[a-z0-9]+(-[a-z0-9]+)*\Z",
        max_length=60,
        required=False,
        help_text="`agent:` and this is its model id on `/v1`; made from the name",
    )
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=2000, allow_blank=True, default="")
    visibility = serializers.ChoiceField(
        Agent.Visibility.choices,
        required=False,
        help_text="`shared`: every user may see and run it; 403 `sharing_not_allowed` without the permission to share",
    )
    enabled = serializers.BooleanField(read_only=True, help_text="false: an administrator switched it off")
    version = serializers.IntegerField(read_only=True, help_text="number of the current version")
    mine = serializers.BooleanField(read_only=True)
    owner = serializers.CharField(read_only=True, help_text="the owner's name, else the first part of their e-mail address")
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        now = self.instance.version if isinstance(self.instance, Agent) and self.partial else None
        model = attrs.get("model", now.model if now else "auto")
        tools = attrs.get("tools", now.tools if now else [])
        card = catalogue.current_sync().cards.get(model) if {"model", "tools"} & set(attrs) else None
        if tools and card is not None and "tools" not in card.capabilities:
            raise serializers.ValidationError({"model": [f"{model} cannot use tools; choose another model or remove the tools."]})
        return attrs

    def to_representation(self, agent: Agent) -> dict[str, Any]:
        assert agent.version is not None
        return {
            "id": str(agent.pk),
            "slug": agent.slug,
            "name": agent.name,
            "description": agent.description,
            "visibility": agent.visibility,
            "enabled": agent.enabled,
            "version": agent.version.number,
            **definition_of(agent.version),
            "mine": agent.user_id == self.context["request"].user.pk,
            "owner": agent.user.display_name,
            "created_at": agent.created_at,
            "updated_at": agent.updated_at,
        }


def definition_of(version: AgentVersion) -> dict[str, Any]:
    """Return a version's definition in the API's shape."""
    return {
        "system_prompt": version.system_prompt,
        "model": version.model,
        "goal": version.goal,
        "parameters": version.parameters,
        "tools": version.tools,
        "max_steps": version.max_steps,
        "max_cost_usd": None if version.max_cost_usd is None else money(version.max_cost_usd),
        "max_seconds": version.max_seconds,
    }


class VersionSerializer(DefinitionSerializer):
    """One version of an agent, which never changes."""

    id = serializers.UUIDField(read_only=True)
    number = serializers.IntegerField(read_only=True)
    current = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)

    def to_representation(self, version: AgentVersion) -> dict[str, Any]:
        return {
            "id": str(version.pk),
            "number": version.number,
            "current": version.pk == self.context["current_version_id"],
            **definition_of(version),
            "created_at": version.created_at,
        }


class ToolSerializer(serializers.Serializer):
    """A tool that agents may use."""

    name = serializers.CharField()
    kind = serializers.ChoiceField([("builtin", "builtin"), ("http", "http")])
    description = serializers.CharField(help_text="the description that the model reads")
    parameters = serializers.DictField(help_text="JSON Schema of the arguments")
    needs_approval = serializers.BooleanField(help_text="every call waits for a person, whatever the agent's `approval`")
    repeatable = serializers.BooleanField(help_text="calling it twice does no harm")
