from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
    label = "tasks"

    def ready(self) -> None:
        from agents.runs import approvals  # models are loaded only now
        from aiagents.core.db import soft_deletion
        from billing.budgets import subjects
        from billing.invariants import register
        from tasks import invariants
        from tasks.models import Task
        from tasks.runs import decisions

        register("tasks", invariants.check)
        subjects.register("task", Task, deleted_at=None)
        approvals.on_decision(decisions.on_decision)
        soft_deletion.register(Task, "tasks.tasks.sweep_deleted")
