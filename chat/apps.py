from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"
    label = "chat"

    def ready(self) -> None:
        from aiagents.core.db import soft_deletion
        from billing.invariants import register  # models are loaded only now
        from chat import invariants
        from chat.models import Conversation

        register("chat", invariants.check)
        soft_deletion.register(Conversation, "chat.tasks.sweep_deleted")
