"""The pages under /admin/analytics/ and the admin's index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from aiagents.core.admin import csv_file
from aiagents.core.errors import AppError
from aiagents.dashboards import costs, models, overview, permissions, ranges, system, usage, users
from aiagents.dashboards.panels import Dashboard
from aiagents.dashboards.ranges import Range

Report = Callable[[HttpRequest, Range], Dashboard]
# (path and name, permissions, report, default range)
REPORTS: list[tuple[str, tuple[str, ...], Report, str]] = [
    ("usage", permissions.USAGE, usage.report, "30d"),
    ("costs", permissions.USAGE, costs.report, "30d"),
    ("models", permissions.USAGE, models.report, "30d"),
    ("users", permissions.PEOPLE, users.report, "30d"),
    ("system", permissions.SYSTEM, system.report, "24h"),
]


def home(site: Any, request: HttpRequest) -> HttpResponse:
    """The overview for staff with permission to see usage; for others Django's index."""
    if not permissions.may(request, permissions.USAGE):
        return site.plain_index(request)
    return _page(site, request, overview.report(request), None)


def urls(site: Any) -> list[URLPattern]:
    found = [path("analytics/live/", site.admin_view(lambda request: live(site, request)), name="analytics_live")]
    for name, needed, report, opens in REPORTS:
        found.append(path(f"analytics/{name}/", site.admin_view(_view(site, needed, report, opens)), name=f"analytics_{name}"))
    return found


def _view(site: Any, needed: tuple[str, ...], report: Report, opens: str) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        if not permissions.may(request, needed):
            raise PermissionDenied
        range_ = ranges.read(request.GET, opens)
        try:
            dashboard = report(request, range_)
        except AppError as exc:
            if exc.status >= 500:
                raise
            dashboard = Dashboard(exc.message)
        if key := request.GET.get("csv"):
            return _file(site, request, dashboard, key)
        return _page(site, request, dashboard, range_)

    return view


def live(site: Any, request: HttpRequest) -> HttpResponse:
    """The live view: an empty page that its WebSocket fills."""
    if not permissions.may(request, permissions.SYSTEM):
        raise PermissionDenied
    return TemplateResponse(request, "admin/analytics/live.html", site.each_context(request) | {"title": "Live"})


def _file(site: Any, request: HttpRequest, dashboard: Dashboard, key: str) -> HttpResponse:
    panel = dashboard.panel(key)
    if panel is None:
        raise Http404
    site.record(request, "admin.export", details={"report": request.path, "panel": key})
    return csv_file.table([title for title, _ in panel.table.head], panel.table.plain(), key)


def _page(site: Any, request: HttpRequest, dashboard: Dashboard, range_: Range | None) -> HttpResponse:
    query = request.GET.copy()
    query.pop("csv", None)
    context = site.each_context(request) | {
        "title": dashboard.title,
        "dashboard": dashboard,
        "range": range_,
        "query": query.urlencode(),
        "charts": {panel.key: panel.chart.data() for panel in dashboard.panels if panel.chart},
    }
    return TemplateResponse(request, "admin/analytics/report.html", context)
