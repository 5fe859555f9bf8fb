from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    label = "agents"

    def ready(self) -> None:
        from agents import invariants  # models are loaded only now
        from billing.invariants import register

        register("agents", invariants.check)
