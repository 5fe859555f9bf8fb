"""Admin pages of agents, versions and runs. Prompts, inputs and outputs are content, which needs a permission."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from agents.models import Agent, AgentRun, AgentStep, AgentVersion
from agents.runs import store as run_store
from aiagents.core.admin import columns, filters
from aiagents.core.admin.inlines import ReadOnlyInline
from aiagents.core.admin.read_only import CONTENT, ReadOnly, WithContent
from aiagents.core.errors import Conflict
from billing import admin as billing_admin


@admin.register(Agent)
class AgentAdmin(ReadOnly):
    """The page of agents. Staff may stop an agent, but only its owner may change its definition."""

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
    actions = ["switch_on", "switch_off", "stop_sharing"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        return super().get_queryset(request).annotate(run_count=Count("runs"))

    @admin.action(description="Switch on", permissions=["act"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Switch off", permissions=["act"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        self._switch(request, queryset, False)

    @admin.action(description="Stop sharing", permissions=["act"])
    def stop_sharing(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        def act(agent: Agent) -> None:
            Agent.objects.filter(pk=agent.pk).update(visibility=Agent.Visibility.PRIVATE)
            self.note(request, "agent.unshared", agent, {"slug": agent.slug})

        self.each(request, queryset.filter(visibility=Agent.Visibility.SHARED), act, "{} are private now.")

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


class StepInline(ReadOnlyInline):
    """The steps of a run, in order. Their inputs and outputs are content."""

    model = AgentStep
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


@admin.register(AgentRun)
class AgentRunAdmin(WithContent):
    list_display = [
        "id", columns.state("status"), columns.link("agent", show="agent__slug"), columns.link("user", show="user__email"), "surface",
        columns.text("model"), "steps_done", columns.money("cost_usd", "cost"), "simulated", "created_at", "ended_at",
    ]  # fmt: skip
    list_filter = ["status", filters.one_of("surface", [(name, name) for name in billing_admin.SURFACES]), "simulated", "created_at"]
    search_ids = ("agent", "task_id", "conversation_id", "message_id")
    search_requests = ("request_id",)
    list_defer = ("input", "output", "state", "error")
    search_exact = ("agent__slug",)
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
