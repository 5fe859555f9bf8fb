from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    label = "agents"

    def ready(self) -> None:
        from agents import invariants  # models are loaded only now
        from agents.models import Agent
        from billing import subjects
        from billing.invariants import register

        register("agents", invariants.check)
        subjects.register("agent", Agent, deleted_at=None)
