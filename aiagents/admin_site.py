"""The admin site: Django's admin with the Unfold theme, our navigation and dashboards, and its content security policy.

The theme's scripts evaluate expressions and set styles on elements. Only this site's pages allow that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csp.decorators import csp_replace, csp_update
from django.core.paginator import InvalidPage
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern
from unfold.sites import UnfoldAdminSite

from accounts import audit
from accounts.client import Origin
from accounts.models import User
from aiagents.dashboards import pages

View = Callable[..., HttpResponse]


def theme_policy(view: View) -> View:
    """The view with the policy that the theme needs: expressions (Alpine) and inline styles. For this site only."""
    return csp_update({"script-src": ["'unsafe-eval'"]})(csp_replace({"style-src": ["'self'", "'unsafe-inline'"]})(view))


class OfficeSite(UnfoldAdminSite):
    """The site. Its `record` writes the audit log for all pages."""

    enable_nav_sidebar = True

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return theme_policy(super().admin_view(view, cacheable))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return theme_policy(super().login)(request, extra_context)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The overview for staff with permission to see usage; for others Django's index."""
        return pages.home(self, request)

    def plain_index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's index with the lists of all apps."""
        return super().index(request, extra_context)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The theme's search. An invalid page number is 404; the theme would answer 500."""
        try:
            return super().search(request, extra_context)
        except InvalidPage as exc:
            raise Http404 from exc

    def extra_urls(self) -> list[URLPattern]:
        return pages.urls(self)

    def record(self, request: HttpRequest, action: str, target: Model | None = None, details: dict[str, Any] | None = None) -> None:
        """Record an action of the request's user in the audit log."""
        actor = request.user if isinstance(request.user, User) else None
        audit.record(action, actor=actor, target=target, ip=Origin.of(request).ip, details=details)
