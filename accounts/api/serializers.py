"""Serializers of `/api/v1/auth/`. A field that a serializer does not declare is 400."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework import serializers

from accounts import hooks, permissions
from accounts.authentication import principal_of
from accounts.models import ApiKey, User, normal_email
from aiagents.core.drf.base import StrictFieldsMixin
from aiagents.core.jsonio import money
from aiagents.core.time_zones import time_zones


def password_field(**options: Any) -> serializers.CharField:
    # No max_length, which would count characters: accounts/sign_in/passwords.py counts bytes.
    return serializers.CharField(write_only=True, trim_whitespace=False, style={"input_type": "password"}, **options)


class PreferencesSerializer(StrictFieldsMixin, serializers.Serializer):
    default_model = serializers.RegexField(r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}\Z", help_text="a model id, `auto`, or `auto:goal`")
    goal = serializers.ChoiceField(User.Goal.choices)
    time_zone = serializers.CharField(max_length=64, help_text="an IANA name, for display")

    def validate_time_zone(self, value: str) -> str:
        if value not in time_zones():
            raise serializers.ValidationError("There is no such time zone.")
        return value


class UserSerializer(serializers.ModelSerializer):
    """The user of the request."""

    permissions = serializers.SerializerMethodField()
    preferences = PreferencesSerializer(source="*", read_only=True)

    class Meta:
        model = User
        fields = ["id", "email", "name", "role", "permissions", "preferences", "created_at"]
        read_only_fields = fields

    def get_permissions(self, user: User) -> list[str]:
        request = self.context["request"]
        # The request of a sign-in has no user yet; its response is for the signed-in user.
        known = request.user.is_authenticated and request.user.pk == user.pk
        return permissions.of(principal_of(request)) if known else permissions.of_user(user)


class ProfileSerializer(StrictFieldsMixin, UserSerializer):
    """The user with the month's spending and budget; name and preferences can be changed."""

    refusals: ClassVar[dict[str, str]] = {
        "preferences": "there is no such time zone",
    }
    preferences = PreferencesSerializer(source="*")
    budget = serializers.SerializerMethodField(help_text="this month: spent, held and limit in USD")

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "budget"]
        read_only_fields = [name for name in fields if name not in {"name", "preferences"}]

    def get_budget(self, user: User) -> dict[str, Any]:
        return {name: money(value) if isinstance(value, Decimal) else value for name, value in hooks.profile_budget(user).items()}

    def update(self, user: User, validated: dict[str, Any]) -> User:
        for name, value in validated.items():
            setattr(user, name, value)
        user.save(update_fields=list(validated))
        return user


class EmailField(serializers.EmailField):
    def to_internal_value(self, data: Any) -> str:
        return normal_email(super().to_internal_value(data))


class RegisterSerializer(StrictFieldsMixin, serializers.Serializer):
    refusals: ClassVar[dict[str, str]] = {
        "password": "it is too weak, has more than 4096 bytes, or resembles the name or e-mail",
        "registration_refused": "the address is taken or may not be registered; both get the same response, to reveal no account",
    }
    email = EmailField(max_length=254)
    password = password_field()
    name = serializers.CharField(max_length=150, required=False, allow_blank=True, default="")


class LoginSerializer(StrictFieldsMixin, serializers.Serializer):
    refusals: ClassVar[dict[str, str]] = {
        "password": "it has more than 4096 bytes",
    }
    email = EmailField(max_length=254)
    password = password_field()


class RefreshSerializer(StrictFieldsMixin, serializers.Serializer):
    refresh = serializers.CharField(max_length=2048, write_only=True)


class LogoutSerializer(StrictFieldsMixin, serializers.Serializer):
    refresh = serializers.CharField(max_length=2048, write_only=True, required=False, help_text="default: the session of the access token")


class PasswordSerializer(StrictFieldsMixin, serializers.Serializer):
    refusals: ClassVar[dict[str, str]] = {
        "current_password": "it is wrong",
        "new_password": "it is too weak, has more than 4096 bytes, or resembles the name or e-mail",
    }
    current_password = password_field()
    new_password = password_field()
    revoke_api_keys = serializers.BooleanField(default=False, help_text="end the API keys too")


class PasswordLinkSerializer(StrictFieldsMixin, serializers.Serializer):
    refusals: ClassVar[dict[str, str]] = {
        "token": "it is unknown, used, expired, or its account is disabled (`link_invalid`)",
        "new_password": "it is too weak, has more than 4096 bytes, or resembles the name or e-mail",
    }
    token = serializers.CharField(max_length=200, write_only=True, help_text="the part after `#` in the link")
    new_password = password_field()
    revoke_api_keys = serializers.BooleanField(default=False, help_text="end the API keys too")


class PairSerializer(serializers.Serializer):
    access = serializers.CharField()
    refresh = serializers.CharField()


class SignedInSerializer(PairSerializer):
    user = UserSerializer()


class AccessSerializer(serializers.Serializer):
    access = serializers.CharField(help_text="a new access token: the old one ended; the refresh token stays valid")


class EndedSerializer(serializers.Serializer):
    sessions_ended = serializers.IntegerField()


class TicketSerializer(serializers.Serializer):
    ticket = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="seconds")


class ApiKeySerializer(StrictFieldsMixin, serializers.ModelSerializer):
    """A key without its secret."""

    refusals: ClassVar[dict[str, str]] = {
        "expires_at": "it is past",
        "monthly_budget_usd": "it is larger than the maximum",
    }
    # The default is the scope that nearly every key needs. It gives no access to the account.
    scopes = serializers.MultipleChoiceField(choices=ApiKey.Scope.choices, allow_empty=False, required=False, default={"chat"})
    monthly_budget_usd = serializers.DecimalField(
        max_digits=24, decimal_places=12, min_value=0, required=False, allow_null=True, default=None
    )
    rate_limit = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False, allow_null=True, default=None)

    class Meta:
        model = ApiKey
        fields = ["id", "name", "prefix", "scopes", "monthly_budget_usd", "rate_limit", "expires_at", "last_used_at", "created_at"]
        read_only_fields = ["id", "prefix", "last_used_at", "created_at"]

    def validate_expires_at(self, value: Any) -> Any:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError("The time must be in the future.")
        return value

    def to_representation(self, key: ApiKey) -> dict[str, Any]:
        limit = self.context.get("budgets", {}).get(key.id)
        key.monthly_budget_usd = limit  # type: ignore[attr-defined]  # the serializer shows it; it is no column
        shown = {"scopes": sorted(key.scopes), "monthly_budget_usd": None if limit is None else money(limit)}
        return super().to_representation(key) | shown


class NewApiKeySerializer(ApiKeySerializer):
    """The one response that contains the key itself."""

    key = serializers.CharField(read_only=True, help_text="shown only once")

    class Meta(ApiKeySerializer.Meta):
        fields = [*ApiKeySerializer.Meta.fields, "key"]
