"""Map every exception of a DRF view to the contract's error."""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from aiagents.core import error_mapping
from aiagents.core.errors import (  # fmt: skip
    AppError,
    InvalidRequest,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from aiagents.core.field_errors import invalid
from aiagents.core.logs import context


class NotAcceptable(AppError):
    type, code, status = "invalid_request", "not_acceptable", 406
    message = "This endpoint answers in JSON only; accept application/json."


class UnsupportedMediaType(AppError):
    type, code, status = "invalid_request", "unsupported_media_type", 415
    message = "Send JSON: Content-Type: application/json."


def exception_handler(exc: Exception, view_context: dict[str, Any]) -> Response | None:
    """The response to an exception; None for our own bugs, which Django logs and answers with 500."""
    error = error_of(exc)
    if error is None:
        return None
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = getattr(exc, "auth_header", None) or 'Bearer realm="api"'
    _select_json(view_context.get("request"))
    response = Response(error.body(context.request_id.get()), status=error.status, headers=headers)
    response.exception = True
    return response


def _select_json(request: Any) -> None:
    """Render the error as JSON where the response would have been YAML or CSV. The browsable API keeps its renderer."""
    renderer = getattr(request, "accepted_renderer", None)  # None when the content negotiation failed
    if request is not None and (renderer is None or renderer.format not in ("json", "api")):
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type


def error_of(exc: Exception) -> AppError | None:
    """The AppError for an exception of DRF, or of those that `error_mapping` knows; None if no client caused it."""
    match exc:
        case AppError():  # first: some errors are both ours and DRF's
            return exc
        case exceptions.ValidationError():
            return invalid(exc.detail)
        case exceptions.ParseError():
            return InvalidRequest(str(exc) or None)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            # One body for no credential and for a wrong one.
            return NotAuthenticated()
        case exceptions.PermissionDenied():
            # A permission class may name its own code.
            return PermissionDenied(_sentence(exc), code=codes if isinstance(codes := exc.get_codes(), str) else None)
        case exceptions.NotFound():
            return NotFound()
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(_sentence(exc))
        case exceptions.NotAcceptable():
            return NotAcceptable()
        case exceptions.UnsupportedMediaType():
            return UnsupportedMediaType()
        case exceptions.Throttled():
            return RateLimited(retry_after=getattr(exc, "wait", None))
        case exceptions.APIException():
            error = InvalidRequest(_sentence(exc)) if exc.status_code < 500 else Unavailable(_sentence(exc))
            error.status = exc.status_code
            return error
    return error_mapping.error_of(exc)


def _sentence(exc: exceptions.APIException) -> str | None:
    return str(exc.detail) if isinstance(exc.detail, str) else None
