"""URLs of `/api/v1/agents/…` as full paths, included at the root."""

from django.urls import path

from agents.api import agents, run_urls

app_name = "agents"
urlpatterns = [
    path("api/v1/agents/", agents.AgentViewSet.as_view({"get": "list", "post": "create"}), name="agents"),
    path(
        "api/v1/agents/<uuid:pk>",
        agents.AgentViewSet.as_view({"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}),
        name="agent",
    ),
    path("api/v1/agents/<uuid:pk>/versions", agents.VersionList.as_view(), name="versions"),
    path("api/v1/agents/tools", agents.ToolList.as_view(), name="tools"),
    *run_urls.urlpatterns,
]
