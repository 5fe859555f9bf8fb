"""Django's last resorts (400, 403, 404, 500) in the contract's shape."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from aiagents.lib import context
from aiagents.lib.errors import AppError, InvalidRequest, NotFound, PermissionDenied
from aiagents.lib.jsonio import dumps


def bad_request(request: HttpRequest, exception: Exception | None = None, **_: Any) -> HttpResponse:
    return _answer(InvalidRequest())


def permission_denied(request: HttpRequest, exception: Exception | None = None, **_: Any) -> HttpResponse:
    return _answer(PermissionDenied())


def csrf_failure(request: HttpRequest, reason: str = "", **_: Any) -> HttpResponse:
    """A form without its token, e.g. from a page that was open through a sign-in."""
    return _answer(PermissionDenied("The form's security token is missing or old; reload the page.", code="csrf_failed"))


def not_found(request: HttpRequest, exception: Exception | None = None, **_: Any) -> HttpResponse:
    return _answer(NotFound())


def server_error(request: HttpRequest, **_: Any) -> HttpResponse:
    return _answer(AppError())


def _answer(error: AppError) -> HttpResponse:
    return HttpResponse(dumps(error.body(context.request_id.get())), status=error.status, content_type="application/json")
