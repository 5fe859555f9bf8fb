from django.urls import path

from aiagents.monitoring import api, views

urlpatterns = [
    path("health", views.alive),
    path("health/ready", views.ready, name="ready"),
    path("metrics", views.prometheus, name="metrics"),
    path("api/v1/system/info", views.InfoView.as_view(), name="system-info"),
    path("api/v1/admin/metrics", api.Metrics.as_view(), name="admin-metrics"),
]
