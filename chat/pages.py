"""The web chat: one page, whose work is done by static/chat/ against the public API."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The empty page. It holds nothing of anybody's, so it is the same for everyone; `no-cache` lets a deploy reach open tabs."""
    response = render(request, "chat.html")
    response["Cache-Control"] = "no-cache"
    return response
