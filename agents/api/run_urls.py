"""URLs of `/api/v1/agents/runs/…`. run_endpoint.py starts runs."""

from django.urls import path

from agents.api.runs import RunViewSet

_RUN = "api/v1/agents/runs/<uuid:pk>"
urlpatterns = [
    path("api/v1/agents/runs/", RunViewSet.as_view({"get": "list"}), name="runs"),
    path(_RUN, RunViewSet.as_view({"get": "retrieve"}), name="run"),
    *(path(f"{_RUN}/{name}", RunViewSet.as_view({"post": name}), name=f"run-{name}") for name in ("approve", "reject", "cancel")),
]
