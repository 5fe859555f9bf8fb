from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
    label = "tasks"

    def ready(self) -> None:
        from agents import approvals  # models are loaded only now
        from billing.invariants import register
        from tasks import decisions, invariants

        register("tasks", invariants.check)
        approvals.on_decision(decisions.on_decision)
