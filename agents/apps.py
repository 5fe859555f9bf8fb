from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    label = "agents"

    def ready(self) -> None:
        from agents import invariants  # models are loaded only now
        from agents.models import Agent, AgentRun
        from aiagents.core.db import soft_deletion
        from billing.budgets import subjects
        from billing.invariants import register

        register("agents", invariants.check)
        subjects.register("agent", Agent, deleted_at=None)
        for model in (Agent, AgentRun):
            soft_deletion.register(model, "agents.tasks.sweep_deleted")
