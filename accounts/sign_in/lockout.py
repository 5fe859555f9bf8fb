"""The admin's login page when too much was tried: 429 with the time to wait, as a page or as JSON, in place of the form."""

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
    """Note that this sign-in was refused unlooked at. (Django's backends can only say no, not why.)"""
    setattr(request, _LOCKED, refusal)


def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The login view, with a lock-out answered as one."""

    @wraps(view)
    def login(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        refusal = getattr(request, _LOCKED, None)
        return response if refusal is None else render(request, refusal)

    return login
