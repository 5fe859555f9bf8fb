"""`/api/v1/tasks/…`, apart from the live events (http.py); whole paths, included at the root."""

from django.urls import path

from tasks.api.views import TaskViewSet

app_name = "tasks"
_BASE = "api/v1/tasks/"
_ONE = TaskViewSet.as_view({"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"})


def _verb(name: str, action: str) -> object:
    return path(f"{_BASE}<uuid:pk>/{name}", TaskViewSet.as_view({"post": action}), name=action)


urlpatterns = [
    path(_BASE, TaskViewSet.as_view({"get": "list", "post": "create"}), name="list"),
    path(f"{_BASE}<uuid:pk>", _ONE, name="one"),
    *(_verb(name, name) for name in ("run", "cancel", "pause", "resume")),
    _verb("webhook-secret", "webhook_secret"),
    path(f"{_BASE}<uuid:pk>/runs", TaskViewSet.as_view({"get": "runs"}, filter_backends=[]), name="runs"),
    path(f"{_BASE}<uuid:pk>/runs/<uuid:run_id>", TaskViewSet.as_view({"get": "run_detail"}, filter_backends=[]), name="run"),
]
