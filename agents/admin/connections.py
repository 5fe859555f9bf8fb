"""Admin pages of provider connections, with test calls that staff pay. A stored key is never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminURLInputWidget

from accounts.admin import staff
from agents import secrets
from agents.calls import test_call as testcall
from agents.models import ProviderConnection
from agents.routing import connections
from aiagents.core.admin import columns
from aiagents.core.admin.rows import Rows
from aiagents.core.errors import AppError
from aiagents.core.outbound import guard as outbound
from billing import admin as billing_admin
from billing.models import AIModel


def run_test(page: Rows, request: HttpRequest, model: str, target: Any) -> None:
    """Call the model, show the result to staff and record it in the audit log."""
    try:
        text, settled = testcall.call(staff(request), model)
    except AppError as exc:
        page.message_user(request, f"{model} did not answer: {exc.message} ({exc.code})", messages.ERROR)
        page.note(request, "model.test", target, {"model": model, "error": exc.code})
        return
    simulated = " (simulated)" if settled.simulated else ""
    message = f"{model} answered in {columns.duration(settled.latency_ms)} for {columns.dollars(settled.cost_usd)}{simulated}: {text[:200]}"
    page.message_user(request, message, messages.SUCCESS)
    page.note(request, "model.test", target, {"model": model, "call_id": str(settled.call_id), "cost_usd": str(settled.cost_usd)})


admin.site.unregister(AIModel)


@admin.register(AIModel)
class CallableModelAdmin(billing_admin.AIModelAdmin):
    """The catalogue's page with a test call, which needs the agents app."""

    actions = [*billing_admin.AIModelAdmin.actions, "test_call"]

    @admin.action(description="Test call (you pay)", permissions=["change"])
    def test_call(self, request: HttpRequest, queryset: QuerySet[AIModel]) -> None:
        for model in queryset[:5]:
            run_test(self, request, model.slug, model)


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
            "requires_finish_reason", "sends_usage", "passes_through", "allow_private_address",
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
            # Else a person who may edit the URL could send the key to a server of their own.
            row.api_key_encrypted = ""
        if commit:
            row.save()
        return row


@admin.register(ProviderConnection)
class ProviderConnectionAdmin(Rows):
    form = ConnectionForm
    list_display = ("slug", "name", "kind", columns.text("base_url"), "key", "is_default", "enabled", "updated_at")
    list_filter = ("kind", "enabled", "is_default")
    search_contains = ("slug", "name", "base_url")
    ordering = ("slug",)
    actions = ["test"]

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
        transaction.on_commit(connections.invalidate)

    def delete_model(self, request: HttpRequest, obj: ProviderConnection) -> None:
        super().delete_model(request, obj)
        transaction.on_commit(connections.invalidate)

    @admin.action(description="Test (you pay for one small call)", permissions=["change"])
    def test(self, request: HttpRequest, queryset: QuerySet[ProviderConnection]) -> None:
        for connection in queryset[:5]:
            try:
                model = testcall.model_of(connection)
            except AppError as exc:
                self.message_user(request, f"{connection.slug}: {exc.message}", messages.WARNING)
            else:
                run_test(self, request, model, connection)
