"""Users, their sessions and keys, and the audit log, for staff. Rights are raised by superusers only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import audit, keys, throttle, tokens
from accounts.models import ApiKey, AuditEvent, TokenFamily, User
from accounts.origin import Origin

RIGHTS = ("role", "is_staff", "is_superuser", "groups", "user_permissions")


def staff(request: HttpRequest) -> User:
    """Who acts; the admin lets nobody else in."""
    assert isinstance(request.user, User)
    return request.user


class NewUserForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")


class ReadOnly(ModelAdmin):
    """Nothing is added, changed or deleted here, by nobody."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form, add_form, change_password_form = UserChangeForm, NewUserForm, AdminPasswordChangeForm
    list_display = ["email", "name", "role", "is_active", "is_staff", "last_login", "created_at"]
    list_filter = ["role", "is_active", "is_staff", "created_at"]
    search_fields = ["email", "name"]
    ordering = ["-created_at"]
    readonly_fields = ["last_login", "created_at"]
    actions = ["disable", "sign_out_everywhere", "clear_attempts"]
    fieldsets = [
        (None, {"fields": ["email", "password", "name"]}),
        ("Rights", {"fields": ["is_active", *RIGHTS], "description": "A change of these ends the user's sessions."}),
        ("Preferences", {"fields": ["default_model", "goal", "time_zone"]}),
        ("Times", {"fields": ["last_login", "created_at"]}),
    ]
    add_fieldsets = [(None, {"fields": ["email", "name", "usable_password", "password1", "password2"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fields = list(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else [*fields, *RIGHTS]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self._within_reach(request, obj)

    def _within_reach(self, request: HttpRequest, obj: User | None) -> bool:
        """Staff who could set an admin's password or address would be that admin."""
        return obj is None or request.user.is_superuser or not (obj.is_superuser or obj.is_staff or obj.role == User.Role.ADMIN)

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        action = "user.update" if change else "user.create"
        self._record(request, action, obj, {"fields": [name for name in form.changed_data if "password" not in name]})

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = ""):
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:
            self._record(request, "user.password_set", User.objects.get(pk=id), {})
        return response

    def _record(self, request: HttpRequest, action: str, target: User, details: dict[str, Any]) -> None:
        audit.record(action, actor=staff(request), target=target, ip=Origin.of(request).ip, details=details)

    def _reachable(self, request: HttpRequest, users: QuerySet[User]) -> list[User]:
        return [user for user in users if self._within_reach(request, user)]

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        users = [user for user in self._reachable(request, queryset) if user.is_active and user != request.user]
        for user in users:
            user.is_active = False
            user.save(update_fields=["is_active"])
            self._record(request, "user.disable", user, {})
        self.message_user(request, f"{len(users)} disabled; their sessions and keys ended.", messages.SUCCESS)

    @admin.action(description="Sign out everywhere", permissions=["change"])
    def sign_out_everywhere(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        users = self._reachable(request, queryset)
        for user in users:
            user.end_sessions(reason="staff")
            self._record(request, "user.sign_out", user, {})
        self.message_user(request, f"{len(users)} signed out everywhere.", messages.SUCCESS)

    @admin.action(description="Clear sign-in attempts", permissions=["change"])
    def clear_attempts(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            throttle.clear(user.email)
            self._record(request, "user.clear_attempts", user, {})
        self.message_user(request, "Attempts on these accounts are forgotten.", messages.SUCCESS)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys may be looked at and revoked; they are made by their users. The digest stands nowhere here."""

    list_display = ["name", "prefix", "user", "scopes", "expires_at", "last_used_at", "revoked_at", "created_at"]
    list_filter = ["revoked_at", "expires_at", "created_at"]
    search_fields = ["name", "prefix", "user__email"]
    list_select_related = ["user"]
    fields = ["id", "user", "name", "prefix", "scopes", "rate_limit", "expires_at", "last_used_at", "revoked_at", "created_at"]
    actions = ["revoke"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_apikey")

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        count = sum(keys.revoke(key, actor=staff(request), ip=Origin.of(request).ip) for key in queryset)
        self.message_user(request, f"{count} revoked.", messages.SUCCESS)


@admin.register(TokenFamily)
class TokenFamilyAdmin(ReadOnly):
    list_display = ["user", "ip", "user_agent", "created_at", "rotated_at", "expires_at", "revoked_at", "revoked_reason"]
    list_filter = ["revoked_reason", "created_at", "expires_at"]
    search_fields = ["user__email", "ip"]
    list_select_related = ["user"]
    actions = ["revoke"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_tokenfamily")

    @admin.action(description="End these sessions", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[TokenFamily]) -> None:
        for family in queryset:
            if tokens.revoke(family, "staff"):
                audit.record("session.revoke", actor=staff(request), target=family, ip=Origin.of(request).ip)
        self.message_user(request, "These sessions are ended.", messages.SUCCESS)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    list_display = ["at", "action", "actor", "target_type", "target_id", "ip", "request_id"]
    list_filter = ["action", "at"]
    search_fields = ["action", "actor__email", "target_id", "request_id", "ip"]
    list_select_related = ["actor"]
    date_hierarchy = "at"


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Django's own, in this admin's clothes. A group is a set of rights: only superusers write it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser
