"""The admin's lists that staff can only read, and those with prompts and answers."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from aiagents.core.admin.rows import Rows


class ReadOnly(Rows):
    """A list that staff can read and not change: no adding, changing or deleting of rows."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_act(self, request: HttpRequest) -> bool:
        """Whether the user has the change permission; `has_change_permission` is always False so that no form opens."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    has_act_permission = may_act


CONTENT = "chat.view_content"


class WithContent(ReadOnly):
    """A list whose `content_fields` hold prompts and answers: shown only with the permission CONTENT, and every view is recorded."""

    content_fields: tuple[Any, ...] = ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = list(super().get_fields(request, obj))
        return fields if request.user.has_perm(CONTENT) else [name for name in fields if name not in self.content_fields]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.get_fields(request, obj)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is not None and self.has_view_permission(request, obj) and request.user.has_perm(CONTENT):
            self.note(request, f"{self.opts.app_label}.content_read", obj)
        return super().change_view(request, object_id, form_url, extra_context)
