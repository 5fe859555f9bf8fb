"""Error responses outside of views: JSON in the contract's shape for programs, a plain page for browsers."""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from aiagents.core import expansion
from aiagents.core.error_mapping import error_of
from aiagents.core.errors import (  # fmt: skip
    AppError,
    Conflict,
    InvalidRequest,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from aiagents.core.jsonio import dumps
from aiagents.core.logs import context

API_PATHS = ("/api/", "/v1/", "/health", "/metrics")
_CLASSES = {
    error.status: error
    for error in (
        InvalidRequest,
        NotAuthenticated,
        PermissionDenied,
        NotFound,
        MethodNotAllowed,
        Conflict,
        PayloadTooLarge,
        RateLimited,
        Unavailable,
    )
}


# Characters of an error's message on a page.
MOST_MESSAGE = 2000


def is_api(path: str) -> bool:
    """Whether a path's responses are for programs."""
    return path.startswith(API_PATHS)


def error_of_status(status: int) -> AppError:
    """The error for an HTTP status."""
    if status in _CLASSES:
        return _CLASSES[status]()
    error = AppError() if status >= 500 else InvalidRequest(HTTPStatus(status).phrase + "." if status in [*HTTPStatus] else None)
    error.status = status
    return error


def render(request: HttpRequest, error: AppError) -> HttpResponse:
    """The error as a response: a page if a browser requests one outside of the API, else JSON."""
    request_id = context.request_id.get() or getattr(request, "request_id", "")
    if is_api(request.path) or "text/html" not in request.headers.get("accept", ""):
        response = HttpResponse(dumps(error.body(request_id)), status=error.status, content_type="application/json")
    else:
        title = HTTPStatus(error.status).phrase if error.status in [*HTTPStatus] else "Error"
        page = render_to_string(
            "error.html", {"title": title, "message": expansion.cut(error.message, MOST_MESSAGE), "request_id": request_id}
        )
        response = HttpResponse(page, status=error.status)
    for name, value in error.headers.items():
        response[name] = value
    if error.retry_after is not None:
        response["Retry-After"] = str(max(1, round(error.retry_after)))
    return response


def bad_request(request: HttpRequest, exception: Exception | None = None, **_: Any) -> HttpResponse:
    return render(request, _error(exception, InvalidRequest))


def permission_denied(request: HttpRequest, exception: Exception | None = None, **_: Any) -> HttpResponse:
    return render(request, _error(exception, PermissionDenied))


def csrf_failure(request: HttpRequest, reason: str = "", **_: Any) -> HttpResponse:
    """The response to a form without a valid CSRF token, e.g. from a page that was loaded before a sign-in."""
    return render(request, PermissionDenied("The form's security token is missing or old; reload the page.", code="csrf_failed"))


def not_found(request: HttpRequest, exception: Exception | None = None, **_: Any) -> HttpResponse:
    return render(request, _error(exception, NotFound))


def server_error(request: HttpRequest, **_: Any) -> HttpResponse:
    """The response to an exception that Django maps to none of the others: a failed database, or a bug."""
    return render(request, _error(sys.exc_info()[1], AppError))


def _error(exc: BaseException | None, default: type[AppError]) -> AppError:
    return (None if exc is None else error_of(exc)) or default()
