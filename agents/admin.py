"""Provider connections in the back office. A stored key is never shown: only replaced."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminURLInputWidget

from agents import connections, secrets
from agents.models import ProviderConnection
from aiagents.lib import outbound
from aiagents.lib.errors import AppError


class ConnectionForm(forms.ModelForm):
    base_url = forms.URLField(max_length=300, assume_scheme="https", widget=UnfoldAdminURLInputWidget())
    api_key = forms.CharField(
        required=False,
        widget=UnfoldAdminPasswordWidget(),
        help_text="Empty keeps the stored key, unless the base URL changes: then enter it again.",
    )

    class Meta:
        model = ProviderConnection
        fields = (
            "name", "slug", "kind", "base_url", "api_key", "is_default", "enabled",
            "requires_finish_reason", "sends_usage", "allow_private_address",
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if url := data.get("base_url"):
            try:
                outbound.check_url(url, allow_private=bool(data.get("allow_private_address")))
            except AppError as exc:
                raise ValidationError({"base_url": exc.message}) from None
        return data

    def save(self, commit: bool = True) -> ProviderConnection:
        row: ProviderConnection = super().save(commit=False)
        if key := self.cleaned_data.get("api_key"):
            row.api_key_encrypted = secrets.encrypt(key)
        elif "base_url" in self.changed_data:
            # Else whoever may edit the address could have the key sent to a place of their own.
            row.api_key_encrypted = ""
        if commit:
            row.save()
        return row


@admin.register(ProviderConnection)
class ProviderConnectionAdmin(ModelAdmin):
    form = ConnectionForm
    list_display = ("slug", "name", "kind", "base_url", "key", "is_default", "enabled", "updated_at")
    list_filter = ("kind", "enabled", "is_default")
    search_fields = ("slug", "name", "base_url")

    @admin.display(description="key")
    def key(self, row: ProviderConnection) -> str:
        if not row.api_key_encrypted:
            return "none"
        try:
            return f"…{secrets.decrypt(row.api_key_encrypted)[-4:]}"
        except AppError:
            return "unreadable"

    def save_model(self, request: HttpRequest, obj: ProviderConnection, form: forms.ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        connections.invalidate()

    def delete_model(self, request: HttpRequest, obj: ProviderConnection) -> None:
        super().delete_model(request, obj)
        connections.invalidate()
