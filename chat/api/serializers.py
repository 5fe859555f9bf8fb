"""Serializers of conversations, messages and feedback. Unknown fields are refused with 400."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aiagents.core.drf import request_models
from aiagents.core.drf.base import StrictFieldsMixin
from aiagents.core.errors import InvalidRequest
from aiagents.core.validation import parse
from chat.conversations import tree
from chat.models import Conversation, Message
from chat.turn_request import ConversationSettings


@extend_schema_field(request_models.reference(ConversationSettings))
class SettingsField(serializers.JSONField):
    """`ConversationSettings`. null removes one."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            raise serializers.ValidationError("An object is required.")
        try:
            return parse(ConversationSettings, value).stored()
        except InvalidRequest as exc:
            raise serializers.ValidationError(exc.details) from exc


class ConversationSerializer(StrictFieldsMixin, serializers.ModelSerializer):
    """A conversation. Settings are merged into the stored ones. `leaf` chooses the branch through that message."""

    refusals: ClassVar[dict[str, str]] = {
        "settings": "a setting is unknown or has a value that a turn would refuse",
        "leaf": "the message is not in this conversation",
    }
    title = serializers.CharField(max_length=200, required=False, allow_blank=True)
    settings = SettingsField(required=False)
    leaf = serializers.UUIDField(source="leaf_id", required=False, allow_null=True)

    class Meta:
        model = Conversation
        fields = ["id", "title", "pinned", "archived", "settings", "leaf", "created_at", "updated_at"]
        read_only_fields = ["id", "created_at", "updated_at"]

    def validate_leaf(self, value: Any) -> Any:
        if value is None:
            raise serializers.ValidationError("The id of a message of this conversation is required.")
        if self.instance is None:
            raise serializers.ValidationError("A new conversation has no messages.")
        found = tree.Tree(self.instance)
        if value not in found.parents:
            raise serializers.ValidationError("The message is not in this conversation.")
        return found.newest_leaf(value)

    def create(self, validated_data: dict[str, Any]) -> Conversation:
        given = {name: value for name, value in validated_data.pop("settings", {}).items() if value is not None}
        return Conversation.objects.create(**validated_data, settings=given, title_is_set=bool(validated_data.get("title")))

    def update(self, instance: Conversation, validated_data: dict[str, Any]) -> Conversation:
        if "settings" in validated_data:
            merged = {**instance.settings, **validated_data["settings"]}
            validated_data["settings"] = {name: value for name, value in merged.items() if value is not None}
        if "title" in validated_data:
            validated_data["title_is_set"] = bool(validated_data["title"])
        # Only the given fields: a turn that ends meanwhile changes `leaf` itself.
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(update_fields=[*validated_data])
        return instance


class UsageSerializer(serializers.Serializer):
    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()


class MessageSerializer(serializers.Serializer):
    """A message in the OpenAPI document and the browsable API. `chat.conversations.as_json` encodes it."""

    id = serializers.UUIDField()
    conversation_id = serializers.UUIDField()
    parent_id = serializers.UUIDField(allow_null=True)
    role = serializers.ChoiceField(Message.Role.choices)
    content = serializers.CharField()
    status = serializers.ChoiceField(Message.Status.choices)
    parts = serializers.ListField(child=serializers.DictField(), required=False, help_text="of a question with more than text")
    metadata = serializers.DictField(required=False)
    reasoning = serializers.CharField(required=False)
    steps = serializers.ListField(child=serializers.DictField(), required=False)
    agent_id = serializers.UUIDField(required=False, allow_null=True, help_text="the agent that answered")
    agent = serializers.DictField(required=False, allow_null=True, help_text="id, version_id, slug and name of the agent, as it was then")
    run_id = serializers.UUIDField(required=False, allow_null=True, help_text="of the agent's run, with all its steps")
    model = serializers.CharField(required=False)
    provider = serializers.CharField(required=False)
    finish_reason = serializers.CharField(required=False)
    usage = UsageSerializer(required=False)
    cost_usd = serializers.CharField(required=False, help_text="US dollars as a decimal string")
    latency_ms = serializers.IntegerField(required=False, allow_null=True)
    ttft_ms = serializers.IntegerField(required=False, allow_null=True)
    route = serializers.DictField(required=False)
    error = serializers.DictField(required=False, allow_null=True)
    simulated = serializers.BooleanField(required=False)
    feedback = serializers.ChoiceField([("up", "up"), ("down", "down")], required=False, allow_null=True)
    feedback_comment = serializers.CharField(required=False)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(required=False, allow_null=True)
    siblings = serializers.ListField(
        child=serializers.UUIDField(), required=False, help_text="this message and its alternatives, oldest first"
    )
    sibling_index = serializers.IntegerField(required=False)


class FeedbackSerializer(StrictFieldsMixin, serializers.Serializer):
    """Feedback about an answer: up, down, or null to remove it."""

    rating = serializers.ChoiceField([("up", "up"), ("down", "down")], allow_null=True)
    comment = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")


class MessagePageSerializer(serializers.Serializer):
    """One page of a branch, in the shape of all lists."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = MessageSerializer(many=True)
