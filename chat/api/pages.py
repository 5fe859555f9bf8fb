"""The page of the web client. static/ runs it on the public API."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls.converters import StringConverter
from django.views.decorators.http import require_safe

from aiagents.core import registration

# Named in the page, so that the browser asks for all of them at once instead of import by import.
_LIBRARIES = ("vendor/markdown-it/markdown-it.js", "vendor/dompurify/purify.js", "vendor/highlight/highlight.js")
_FOLDERS = ("shared", "chat", "shell")
# A classic script, which the page names by itself.
_EARLY = "shared/early_theme.js"
_OWN = [f"{folder}/{path.name}" for folder in _FOLDERS for path in sorted((settings.BASE_DIR / "static" / folder).glob("*.js"))]
MODULES = (*(name for name in _OWN if name != _EARLY), *_LIBRARIES)
# The other pages' modules are fetched when a page is entered; their styles are small and come at once.
PAGES = ("agents", "tasks", "usage", "account")
PAGE_STYLES = tuple(f"css/{name}.css" for name in PAGES)


class PageConverter(StringConverter):
    """The address of a page beside the chat, and all addresses below it."""

    regex = rf"(?:{'|'.join(PAGES)})(?:/[\w/-]*)?"


@require_safe
def index(request: HttpRequest, page: str = "") -> HttpResponse:
    """Return the empty page, at `/` and at the URLs of each page.

    It holds no person's data, so it is the same for everyone. `no-cache`: it names the modules of this version.
    """
    response = render(request, "chat.html", {"modules": MODULES, "page_styles": PAGE_STYLES, "registration": registration.policy()})
    response["Cache-Control"] = "no-cache"
    return response
