"""The paths that Django serves. asgi.py serves the asynchronous endpoints before them."""

from __future__ import annotations

from csp.decorators import csp_update
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularSwaggerSplitView

from accounts.sign_in import lockout
from aiagents.core.drf.schema_view import SchemaView
from chat.api import pages

# Swagger UI sets styles on elements; everything else of the policy stays.
docs = csp_update({"style-src": ["'unsafe-inline'"]})(SpectacularSwaggerSplitView.as_view(url_name="schema"))

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("aiagents.monitoring.urls")),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("docs", docs, name="docs"),
    path("admin/login/", lockout.guarded(admin.site.login)),
    path("admin/", admin.site.urls),
    path("", include("accounts.api.urls")),
    path("", include("billing.api.urls")),
    path("", include("agents.api.urls")),
    path("", include("chat.api.urls")),
    path("", include("tasks.api.urls")),
    path("", pages.index, name="index"),
    path("<page:page>", pages.index, name="page"),
]

handler400 = "aiagents.core.http.error_views.bad_request"
handler403 = "aiagents.core.http.error_views.permission_denied"
handler404 = "aiagents.core.http.error_views.not_found"
handler500 = "aiagents.core.http.error_views.server_error"
