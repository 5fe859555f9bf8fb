"""The web chat: one page, whose work is done by static/chat/ against the public API."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls.converters import StringConverter
from django.views.decorators.http import require_safe

from aiagents.core import registration

# Named in the page, so that the browser asks for all of them at once instead of import by import.
_LIBRARIES = ("vendor/markdown-it/markdown-it.js", "vendor/dompurify/purify.js", "vendor/highlight/highlight.js")
_OWN = tuple(f"chat/{path.name}" for path in sorted((settings.BASE_DIR / "static" / "chat").glob("*.js")) if path.name != "early.js")
_SHARED = ("usage/alert_words.js", "usage/bell.js", "tasks/waiting.js")
MODULES = _OWN + _SHARED + _LIBRARIES
# The rooms' modules are fetched when a room is entered; their styles are small and come at once.
ROOMS = ("agents", "tasks", "usage", "account")
ROOM_STYLES = tuple(f"css/{name}.css" for name in ROOMS if (settings.BASE_DIR / "static" / "css" / f"{name}.css").exists())


class RoomConverter(StringConverter):
    """A room's address and all below it."""

    regex = rf"(?:{'|'.join(ROOMS)})(?:/[\w/-]*)?"


@require_safe
def index(request: HttpRequest, room: str = "") -> HttpResponse:
    """The empty page, at `/` and at each room's addresses.

    It holds nothing of anybody's, so it is the same for everyone; `no-cache` lets a deploy reach open tabs.
    """
    response = render(request, "chat.html", {"modules": MODULES, "rooms": ROOM_STYLES, "registration": registration.policy()})
    response["Cache-Control"] = "no-cache"
    return response
