"""The admin's login page after too many attempts: 429 with the time to wait, as a page or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from aiagents.core.errors import RateLimited
from aiagents.core.http.error_views import render

_LOCKED = "locked_out"


def mark(request: HttpRequest, refusal: RateLimited) -> None:
    """Record on the request that the limit refused this sign-in: Django's backends cannot return a reason."""
    setattr(request, _LOCKED, refusal)


def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Wrap the login view: a sign-in that the limit refused becomes 429."""

    @wraps(view)
    def login(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        refusal = getattr(request, _LOCKED, None)
        return response if refusal is None else render(request, refusal)

    return login
