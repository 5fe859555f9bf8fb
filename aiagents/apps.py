from django.apps import AppConfig


class AiagentsConfig(AppConfig):
    name = "aiagents"
    label = "aiagents"
