from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"
    label = "chat"

    def ready(self) -> None:
        from billing.invariants import register  # models are loaded only now
        from chat import invariants

        register("chat", invariants.check)
