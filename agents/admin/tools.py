"""Admin pages of HTTP tools. Stored headers can be replaced but are never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget

from agents.models import HttpTool
from agents.tools import http
from aiagents.core.admin import columns
from aiagents.core.admin.rows import Rows
from aiagents.core.errors import AppError


class HeadersField(forms.CharField):
    """Lines of `Name: value`. The stored headers are never shown."""

    def clean(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in (super().clean(value) or "").splitlines():
            name, colon, content = (part.strip() for part in line.partition(":"))
            if not line.strip():
                continue
            if not colon or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or not content.isprintable():
                raise ValidationError("Each line must be a header: a name, a colon and a value.")
            found[name] = content
        return found


class HttpToolForm(forms.ModelForm):
    new_headers = HeadersField(
        required=False,
        label="Headers",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text="One per line, such as “Authorization: Bearer …”. Never shown; empty keeps the stored headers, unless the host changes.",
    )
    drop_headers = forms.BooleanField(required=False, label="Delete the stored headers", widget=UnfoldBooleanSwitchWidget())

    class Meta:
        model = HttpTool
        fields = (
            "name", "description", "method", "url", "parameters", "new_headers", "drop_headers", "timeout_seconds", "max_bytes",
            "needs_approval", "repeatable", "allow_private_address", "enabled",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "parameters" in self.fields:  # absent on the read-only page
            self.fields["parameters"].required = False  # a tool may have no parameters, and Django treats {} as missing

    def clean_parameters(self) -> Any:
        return self.cleaned_data.get("parameters") or {}

    def save(self, commit: bool = True) -> HttpTool:
        row: HttpTool = super().save(commit=False)
        if headers := self.cleaned_data.get("new_headers"):
            row.headers_encrypted = http.encrypt_headers(headers)
        elif self.cleaned_data.get("drop_headers"):
            row.headers_encrypted = ""
        if commit:
            row.save()
        return row


@admin.register(HttpTool)
class HttpToolAdmin(Rows):
    form = HttpToolForm
    list_display = [
        "name",
        columns.text("description"),
        "method",
        columns.text("url"),
        "headers",
        "needs_approval",
        "enabled",
        "updated_at",
    ]
    list_filter = ["method", "enabled", "needs_approval", "repeatable"]
    search_contains = ("name", "description", "url")
    ordering = ["name"]
    actions = ["switch_on", "switch_off"]

    @admin.display(description="headers")
    def headers(self, tool: HttpTool) -> str:
        try:
            return ", ".join(http.header_names(tool)) or "none"
        except AppError:
            return "unreadable"

    @admin.action(description="Switch on", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[HttpTool]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Switch off", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[HttpTool]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[HttpTool], enabled: bool) -> None:
        def act(tool: HttpTool) -> None:
            tool.enabled = enabled
            tool.save(update_fields=["enabled", "updated_at"])
            self.note(request, "httptool.enable" if enabled else "httptool.disable", tool)

        self.each(request, queryset.exclude(enabled=enabled), act, "{} switched on." if enabled else "{} switched off.")
