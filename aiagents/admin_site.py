"""The back office: Django's admin in the theme's clothes, with our navigation, our dashboards, and what its pages may load.

The theme's scripts evaluate expressions and set styles on elements. That is allowed on this site's pages and nowhere else.
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
    """The view with what the theme needs: expressions (Alpine) and inline styles. Never used outside this site."""
    return csp_update({"script-src": ["'unsafe-eval'"]})(csp_replace({"style-src": ["'self'", "'unsafe-inline'"]})(view))


class OfficeSite(UnfoldAdminSite):
    """`record` writes the audit log for all its pages."""

    enable_nav_sidebar = True

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return theme_policy(super().admin_view(view, cacheable))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return theme_policy(super().login)(request, extra_context)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The overview, for those who may see figures; for others, what they may do."""
        return pages.home(self, request)

    def plain_index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's own: the lists."""
        return super().index(request, extra_context)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The theme's search; a page that is none is 404, where the theme would end in a 500."""
        try:
            return super().search(request, extra_context)
        except InvalidPage as exc:
            raise Http404 from exc

    def extra_urls(self) -> list[URLPattern]:
        return pages.urls(self)

    def record(self, request: HttpRequest, action: str, target: Model | None = None, details: dict[str, Any] | None = None) -> None:
        """Who did what, in the audit log."""
        actor = request.user if isinstance(request.user, User) else None
        audit.record(action, actor=actor, target=target, ip=Origin.of(request).ip, details=details)
