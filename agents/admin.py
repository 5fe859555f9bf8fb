"""Provider connections, agents and their tools and runs in the back office. A stored secret is never shown: only replaced."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget, UnfoldAdminURLInputWidget

from accounts.admin import staff
from agents import connections, run_store, secrets, testcall
from agents.models import Agent, AgentRun, AgentStep, AgentVersion, HttpTool, ProviderConnection
from agents.tools import http
from aiagents.lib import outbound
from aiagents.lib.errors import AppError, Conflict
from aiagents.lib.office import columns, filters
from aiagents.lib.office.rows import CONTENT, ReadOnly, Rows, WithContent
from billing import admin as billing_admin
from billing.models import AIModel, Budget

billing_admin.NAMES[Budget.Scope.AGENT] = lambda id: Agent.objects.filter(pk=id).values("name")


def tell_test(page: Rows, request: HttpRequest, model: str, target: Any) -> None:
    """Call the model, say how it went, write it down."""
    try:
        said, settled = testcall.call(staff(request), model)
    except AppError as exc:
        page.message_user(request, f"{model} did not answer: {exc.message} ({exc.code})", messages.ERROR)
        page.note(request, "model.test", target, {"model": model, "error": exc.code})
        return
    simulated = " (simulated)" if settled.simulated else ""
    text = f"{model} answered in {columns.duration(settled.latency_ms)} for {columns.dollars(settled.cost_usd)}{simulated}: {said[:200]}"
    page.message_user(request, text, messages.SUCCESS)
    page.note(request, "model.test", target, {"model": model, "call_id": str(settled.call_id), "cost_usd": str(settled.cost_usd)})


admin.site.unregister(AIModel)


@admin.register(AIModel)
class CallableModelAdmin(billing_admin.AIModelAdmin):
    """The catalogue's page, with what only this floor can do: ask the model."""

    actions = [*billing_admin.AIModelAdmin.actions, "test_call"]

    @admin.action(description="Test call (you pay)", permissions=["change"])
    def test_call(self, request: HttpRequest, queryset: QuerySet[AIModel]) -> None:
        for model in queryset[:5]:
            tell_test(self, request, model.slug, model)


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
                tell_test(self, request, model, connection)


class HeadersField(forms.CharField):
    """Lines of `Name: value`. What is stored never comes back."""

    def clean(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in (super().clean(value) or "").splitlines():
            name, colon, content = (part.strip() for part in line.partition(":"))
            if not line.strip():
                continue
            if not colon or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or not content.isprintable():
                raise ValidationError("Each line is a header: its name, a colon, its value.")
            found[name] = content
        return found


class HttpToolForm(forms.ModelForm):
    new_headers = HeadersField(
        required=False,
        label="Headers",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text="One per line, such as “Authorization: Bearer …”. Written only: empty keeps what is stored, unless the host changes.",
    )
    drop_headers = forms.BooleanField(required=False, label="Forget the stored headers")

    class Meta:
        model = HttpTool
        fields = (
            "name", "description", "method", "url", "parameters", "new_headers", "drop_headers", "timeout_seconds", "max_bytes",
            "needs_approval", "repeatable", "allow_private_address", "enabled",
        )  # fmt: skip

    def save(self, commit: bool = True) -> HttpTool:
        row: HttpTool = super().save(commit=False)
        if headers := self.cleaned_data.get("new_headers"):
            row.headers_encrypted = http.seal_headers(headers)
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


@admin.register(Agent)
class AgentAdmin(ReadOnly):
    """What an agent is told and may do is its owner's; staff may stop it."""

    list_display = [
        "slug", "name", columns.link("user", show="user__email"), "visibility", "enabled", columns.link("version", show="version__number"),
        columns.text("version__model", "model"), columns.number("run_count", "runs", order=False), "created_at", "deleted_at",
    ]  # fmt: skip
    list_filter = ["visibility", "enabled", filters.empty("deleted_at", "deleted", "there", "deleted"), "created_at"]
    search_contains = ("slug", "name")
    search_people = ("user",)
    list_select_related = ["user", "version"]
    ordering = ["-created_at"]
    fields = [
        ("slug", "name"), "user", "description", ("visibility", "enabled"), columns.link("version"),
        ("created_at", "updated_at", "deleted_at"),
    ]  # fmt: skip
    readonly_fields = [fields[4]]
    actions = ["switch_on", "switch_off"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        return super().get_queryset(request).annotate(run_count=Count("runs"))

    @admin.action(description="Switch on", permissions=["act"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Switch off", permissions=["act"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Agent], enabled: bool) -> None:
        def act(agent: Agent) -> None:
            Agent.objects.filter(pk=agent.pk).update(enabled=enabled)
            self.note(request, "agent.enable" if enabled else "agent.disable", agent, {"slug": agent.slug})

        self.each(request, queryset.exclude(enabled=enabled), act, "{} switched on." if enabled else "{} switched off.")


@admin.register(AgentVersion)
class AgentVersionAdmin(WithContent):
    list_display = [
        columns.link("agent", show="agent__slug"), "number", columns.text("model"), columns.text("goal"), "tool_names", "max_steps",
        columns.money("max_cost_usd", "most per run"), "max_seconds", "created_at",
    ]  # fmt: skip
    list_filter = ["created_at"]
    search_contains = ("agent__slug", "agent__name")
    search_exact = ("model",)
    list_select_related = ["agent"]
    ordering = ["-id"]
    fields = [
        "agent", "number", "created_by", "created_at", columns.text("system_prompt"), "model", "goal", columns.json("parameters"),
        columns.json("tools"), "max_steps", "max_cost_usd", "max_seconds",
    ]  # fmt: skip
    content_fields = (fields[4],)

    @admin.display(description="tools")
    def tool_names(self, version: AgentVersion) -> str:
        return ", ".join(str(tool.get("name", "")) for tool in version.tools if isinstance(tool, dict))


class StepInline(TabularInline):
    """What a run did, in order. What went in and came out is content."""

    model = AgentStep
    extra = 0
    fields = [
        "number", columns.state("status"), "kind", "name", columns.number("input_tokens", "input"),
        columns.number("output_tokens", "output"),
        columns.money("cost_usd", "cost"), columns.millis("latency_ms", "time"), "error_code", "decided_by",
        columns.json("input", "what went in"), columns.json("output", "what came out"),
    ]  # fmt: skip
    readonly_fields = fields

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.fields if request.user.has_perm(CONTENT) else self.fields[:-2]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentStep]:
        return super().get_queryset(request).select_related("decided_by")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("agents.view_agentrun")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AgentRun)
class AgentRunAdmin(WithContent):
    list_display = [
        "id", columns.state("status"), columns.link("agent", show="agent__slug"), columns.link("user", show="user__email"), "surface",
        columns.text("model"), "steps_done", columns.money("cost_usd", "cost"), "simulated", "created_at", "ended_at",
    ]  # fmt: skip
    list_filter = ["status", filters.one_of("surface", [(name, name) for name in billing_admin.SURFACES]), "simulated", "created_at"]
    search_ids = ("agent", "task_id", "conversation_id", "message_id")
    search_exact = ("request_id", "agent__slug")
    search_people = ("user",)
    list_select_related = ["user", "agent"]
    ordering = ["-created_at"]
    inlines = [StepInline]
    fields = [
        "id", "status", "agent", "version", "user", "surface", "model", "finish_reason", "steps_done",
        columns.number("input_tokens"), columns.number("output_tokens"), columns.money("cost_usd"), "simulated", "created_at",
        "heartbeat_at", "ended_at", "request_id", "conversation_id", "message_id", "task_id", columns.json("error"),
        columns.json("input"), columns.json("output"),
    ]  # fmt: skip
    content_fields = tuple(fields[-2:])
    actions = ["cancel"]

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[AgentRun]) -> None:
        def act(run: AgentRun) -> None:
            if run.status not in AgentRun.OPEN:
                raise Conflict("This run has ended already.")
            run_store.cancel(run.user_id, run.pk)
            self.note(request, "agentrun.cancel", run)

        self.each(request, queryset, act, "{} cancelled.")
