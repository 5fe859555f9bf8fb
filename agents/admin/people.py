"""Admin actions on the page of users that grant and withdraw the permission to share agents."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin import staff
from accounts.admin.users import UserAdmin
from accounts.models import User
from agents.definitions import sharing

admin.site.unregister(User)


@admin.register(User)
class SharingUserAdmin(UserAdmin):
    """The page of users with the actions for sharing agents, which need the agents app."""

    actions = [*UserAdmin.actions, "allow_sharing", "withdraw_sharing"]

    def has_sharing_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may grant sharing: staff with the permission to change users.

        All staff may share agents themselves, so they grant nothing that they lack.
        """
        return staff(request).is_staff and request.user.has_perm("accounts.change_user")

    @admin.action(description="Allow sharing agents with all users", permissions=["sharing"])
    def allow_sharing(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def act(user: User) -> bool:
            if new := sharing.allow(user):
                self.note(request, "user.sharing_allowed", user)
            return new

        self.each(request, self._reachable(request, queryset), act, "{} may share agents with all users.")

    @admin.action(description="Withdraw the permission to share agents; shared agents become private", permissions=["sharing"])
    def withdraw_sharing(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def act(user: User) -> None:
            self.note(request, "user.sharing_withdrawn", user, {"agents": sharing.withdraw(user)})

        self.each(request, self._reachable(request, queryset), act, "{} may not share agents any more.")
