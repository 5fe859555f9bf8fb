from django.apps import AppConfig


class AiagentsConfig(AppConfig):
    """The top layer, which may import every app."""

    name = "aiagents"
    label = "aiagents"

    def ready(self) -> None:
        from aiagents import wiring  # imports every app's models, which are loaded only now

        wiring.register()
