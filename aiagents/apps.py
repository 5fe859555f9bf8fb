from django.apps import AppConfig


class AiagentsConfig(AppConfig):
    """The roof: it may import every app, and tells the cellar what only upper floors know."""

    name = "aiagents"
    label = "aiagents"

    def ready(self) -> None:
        # Not before: both need the apps' models.
        from aiagents import checks, probes, roles, warming

        assert warming.web  # imported for its signal
        assert checks.production_is_safe  # imported for its registration
        probes.register()
        roles.register()
