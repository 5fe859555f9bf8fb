"""Who may share agents with everybody: two more actions on the page of users."""

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
    """The page of accounts, with what only this layer knows: agents."""

    actions = [*UserAdmin.actions, "allow_sharing", "withdraw_sharing"]

    def has_sharing_permission(self, request: HttpRequest) -> bool:
        """Staff who may change users name others; all staff may share agents themselves, so nothing new is handed on."""
        return staff(request).is_staff and request.user.has_perm("accounts.change_user")

    @admin.action(description="Let them share agents with everybody", permissions=["sharing"])
    def allow_sharing(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def act(user: User) -> bool:
            if new := sharing.allow(user):
                self.note(request, "user.sharing_allowed", user)
            return new

        self.each(request, self._reachable(request, queryset), act, "{} may share agents with everybody.")

    @admin.action(description="Take the right to share agents; theirs become private", permissions=["sharing"])
    def withdraw_sharing(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def act(user: User) -> None:
            self.note(request, "user.sharing_withdrawn", user, {"agents": sharing.withdraw(user)})

        self.each(request, self._reachable(request, queryset), act, "{} may not share agents any more.")
