"""Users, and the groups of staff. Only superusers give access to the admin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts import administration, hooks
from accounts.admin.acting import staff, within_reach
from accounts.client import Origin
from accounts.models import AccountMail, User
from accounts.sign_in import throttle
from aiagents.core.admin import columns
from aiagents.core.admin.rows import Rows

PERMISSION_FIELDS = ("role", "is_staff", "is_superuser", "groups", "user_permissions")


# A person who can set one of these fields can sign in as the user.
IDENTITY = ("email", "password")
_LINK_NOTE = "The person gets an e-mail with a one-time link to choose their password."


class NewUserForm(UserCreationForm):
    """The form of superusers: with a password, or without one and then with a link."""

    class Meta:
        model = User
        fields = ("email", "name")


class InvitedUserForm(forms.ModelForm):
    """The form of other staff: an account without a password, whose owner gets a link to set one."""

    class Meta:
        model = User
        fields = ("email", "name")

    def save(self, commit: bool = True) -> User:
        self.instance.set_unusable_password()
        return super().save(commit)


class MonthlyBudgetForm(forms.Form):
    monthly_budget_usd = forms.DecimalField(
        label="Monthly budget, USD",
        required=False,  # see clean()
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=6,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "autofocus": True}),
        help_text="It applies from the next call on and includes this month's spending.",
    )
    no_limit = forms.BooleanField(
        label="No limit",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Removes the monthly budget of all users listed above.",
    )

    def clean(self) -> dict[str, Any]:
        """Require an amount or the explicit choice of no limit: an empty field must not remove a limit."""
        data = super().clean() or {}
        amount, no_limit = data.get("monthly_budget_usd"), data.get("no_limit", False)
        if "monthly_budget_usd" not in self.errors and (amount is None) != no_limit:
            wrong = "Enter an amount or choose “No limit”, not both." if no_limit else "Enter an amount, or choose “No limit”."
            self.add_error("monthly_budget_usd", wrong)
        return data


@admin.register(User)
class UserAdmin(DjangoUserAdmin, Rows):  # type: ignore[misc]  # Django's stubs and the theme do not agree
    form, add_form, change_password_form = UserChangeForm, NewUserForm, AdminPasswordChangeForm
    list_display = [
        "email", columns.text("name"), columns.state("role"), "is_active", "is_staff",
        columns.money("month_spent", "spent this month", order=False), columns.money("month_limit", "budget", order=False), "last_login",
        "created_at",
    ]  # fmt: skip
    list_filter = ["role", "is_active", "is_staff", "groups", "last_login", "created_at"]
    search_contains = ("email", "name")
    ordering = ["-created_at"]
    readonly_fields = ["last_login", "created_at"]
    filter_horizontal = ()
    autocomplete_fields = ("groups",)
    actions = ["send_password_link", "disable", "enable", "sign_out_everywhere", "set_budget", "make_admin", "make_user", "clear_attempts"]
    fieldsets = [
        (None, {"fields": ["email", "password", "name"]}),
        (
            "Permissions",
            {
                "fields": ["is_active", "role", "is_staff", "is_superuser", "groups"],
                "description": "A change of these ends the user's sessions. Role “admin” gives access to the admin API; “staff” to these"
                " pages, where the groups decide what a user may see and do.",
            },
        ),
        ("Preferences", {"fields": ["default_model", "goal", "time_zone"]}),
        ("Times", {"fields": ["last_login", "created_at"]}),
    ]
    add_fieldsets = [(None, {"fields": ["email", "name", "usable_password", "password1", "password2"]})]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return hooks.with_month(super().get_queryset(request))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Only superusers may change permissions, and the address that receives password links."""
        fields = list(super().get_readonly_fields(request, obj))
        if request.user.is_superuser:
            return fields
        return [*fields, *PERMISSION_FIELDS] if obj is None else [*fields, *PERMISSION_FIELDS, "email"]

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> list[Any]:
        if request.user.is_superuser:
            return list(super().get_fieldsets(request, obj))
        if obj is None:
            return [(None, {"fields": ["email", "name"], "description": _LINK_NOTE})]
        return [(None, {"fields": ["email", "name"]}), *self.fieldsets[1:]]

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> type[ModelForm]:
        if request.user.is_superuser:
            return super().get_form(request, obj, change=change, **kwargs)
        # Without Django's `password` field, which links to the form that sets it.
        kwargs["form"] = InvitedUserForm if obj is None else forms.ModelForm
        return Rows.get_form(self, request, obj, change=change, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return not lookup.startswith("password") and Rows.lookup_allowed(self, lookup, value, request)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and within_reach(request, obj)

    def has_budget_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("billing.change_budget")

    def has_role_permission(self, request: HttpRequest) -> bool:
        """Allow admins to make admins, as in the API. Only superusers give access to these pages."""
        return staff(request).is_superuser or (staff(request).is_admin and request.user.has_perm("accounts.change_user"))

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        """Change role and state with the function of the API, which keeps at least one active admin."""
        if not change:
            obj.save()
            password_set = obj.has_usable_password()
            fields = sorted(name for name in form.changed_data if "password" not in name)
            self.note(request, "user.create", obj, {"fields": fields, "password_set": password_set})
            if not password_set:
                AccountMail.objects.enqueue(obj, AccountMail.Kind.WELCOME)
                self.message_user(request, f"{obj.email} gets a one-time link to choose a password.", messages.SUCCESS)
            return
        guarded = [name for name in administration.GUARDED_FIELDS if name in form.changed_data]
        wanted = {name: form.cleaned_data[name] for name in guarded}
        for name in guarded:
            setattr(obj, name, form.initial[name])
        others = sorted({name for name in form.changed_data if "password" not in name} - set(guarded))
        if others:
            obj.save()
            addresses = {"email": [form.initial["email"], obj.email]} if "email" in others else {}
            self.note(request, "user.update", obj, {"fields": others} | addresses)
        if wanted:
            administration.change(obj.pk, wanted, actor=staff(request), ip=Origin.of(request).ip)
            obj.refresh_from_db()

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Allow only superusers to set a password; other staff send a link (`send_password_link`)."""
        if not staff(request).is_superuser:
            raise PermissionDenied("Only superusers set passwords. Send the person a password link instead.")
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:
            self.note(request, "user.password_set", User.objects.get(pk=id))
        return response

    # --- actions ------------------------------------------------------------------------------

    def _change(
        self, request: HttpRequest, users: QuerySet[User], wanted: dict[str, Any], done: str, *, unrestricted: bool = False
    ) -> None:
        """Change users as the API's PATCH does; `unrestricted`: `administration.change` alone refuses accounts."""

        def act(user: User) -> None:
            administration.change(user.pk, wanted, actor=staff(request), ip=Origin.of(request).ip)

        self.each(request, users if unrestricted else self._reachable(request, users), act, done)

    def _reachable(self, request: HttpRequest, users: QuerySet[User]) -> list[User]:
        within = [user for user in users if within_reach(request, user)]
        if left := len(users) - len(within):
            self.message_user(request, f"{left} left unchanged: only superusers can change staff and admins.", messages.WARNING)
        return within

    @admin.action(description="Send a link to set a password", permissions=["change"])
    def send_password_link(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        users = [user for user in self._reachable(request, queryset) if user.is_active]
        for user in users:
            AccountMail.objects.enqueue(user, AccountMail.Kind.PASSWORD_LINK)
            self.note(request, "user.password_link", user)
        self.message_user(request, f"{len(users)} get a one-time link by e-mail; disabled accounts get none.", messages.SUCCESS)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._change(request, queryset.filter(is_active=True), {"is_active": False}, "{} disabled; their sessions and keys ended.")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._change(request, queryset.filter(is_active=False), {"is_active": True}, "{} enabled.")

    @admin.action(description="Give the role admin", permissions=["role"])
    def make_admin(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._change(request, queryset, {"role": User.Role.ADMIN}, "{} have the role admin.", unrestricted=True)

    @admin.action(description="Take the role admin", permissions=["role"])
    def make_user(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._change(request, queryset, {"role": User.Role.USER}, "{} have the role user.", unrestricted=True)

    @admin.action(description="Sign out everywhere", permissions=["change"])
    def sign_out_everywhere(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        users = self._reachable(request, queryset)
        for user in users:
            user.end_sessions(reason="staff")
            self.note(request, "user.sign_out", user)
        self.message_user(request, f"{len(users)} signed out everywhere.", messages.SUCCESS)

    @admin.action(description="Clear sign-in attempts", permissions=["change"])
    def clear_attempts(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in self._reachable(request, queryset):
            throttle.clear(user.email)
            self.note(request, "user.clear_attempts", user)
        self.message_user(request, "The attempts on these accounts were reset.", messages.SUCCESS)

    @admin.action(description="Set monthly budget…", permissions=["budget"])
    def set_budget(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        form = MonthlyBudgetForm(request.POST if "apply" in request.POST else None)
        if form.is_valid():
            limit = form.cleaned_data["monthly_budget_usd"]
            shown = "no limit" if limit is None else columns.dollars(limit)
            self._change(request, queryset, {"monthly_budget_usd": limit}, f"{{}} budgets set: {shown}.", unrestricted=True)
            return None
        context = self.admin_site.each_context(request) | {
            "title": "Set monthly budget",
            "opts": self.opts,
            "form": form,
            "users": queryset[:500],
            "action": "set_budget",
        }
        return TemplateResponse(request, "admin/set_budget.html", context)


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, Rows):  # type: ignore[misc]  # Django's stubs and the theme do not agree
    """Django's group admin with this admin's list. A group is a set of permissions: only superusers may change it.

    Every migration resets the predefined groups (aiagents/roles.py): create a new group for other permissions.
    """

    list_display = ["name", "members", "permission_count"]
    search_fields = ["name"]
    search_contains = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        found = super().get_queryset(request)
        return found.annotate(member_count=Count("user", distinct=True), permission_total=Count("permissions", distinct=True))

    @admin.display(description="members")
    def members(self, group: Group) -> int:
        return group.member_count  # type: ignore[attr-defined]  # annotated by get_queryset

    @admin.display(description="permissions")
    def permission_count(self, group: Group) -> int:
        return group.permission_total  # type: ignore[attr-defined]  # annotated by get_queryset

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser
