from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "aiagents.monitoring"
    label = "monitoring"
