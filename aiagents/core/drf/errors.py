"""Map every exception of a DRF view to the contract's error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from aiagents.core import storage
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
from aiagents.core.logs import context

log = logging.getLogger(__name__)


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
    headers = {}
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
    """The AppError for an exception of ours, DRF's, Django's or the database's; None if no client caused it."""
    match exc:
        case AppError():
            return exc
        case exceptions.ValidationError():
            return invalid(exc.detail)
        case DjangoValidationError():
            return invalid(exc.message_dict if hasattr(exc, "error_dict") else {"non_field_errors": exc.messages})
        case exceptions.ParseError() | BadRequest():
            return InvalidRequest(str(exc) or None)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            # One body for no credential and for a wrong one.
            return NotAuthenticated()
        case exceptions.PermissionDenied():
            # A permission class may name its own code.
            return PermissionDenied(_sentence(exc), code=codes if isinstance(codes := exc.get_codes(), str) else None)
        case DjangoPermissionDenied():
            return PermissionDenied(str(exc) or None)
        case exceptions.NotFound() | Http404():
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
        case RequestDataTooBig():
            return PayloadTooLarge(details={"max_bytes": settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
        case SuspiciousOperation():
            return InvalidRequest()
        case ProtectedError():
            return Conflict("Other objects still refer to this one; delete them first.")
        case OperationalError() | InterfaceError():
            # No traceback: an unreachable server fails every request in the same way.
            log.error("the database failed a request: %s: %s", type(exc).__name__, str(exc).partition("\n")[0])
            return (
                storage.StorageFull()
                if storage.is_full(exc)
                else Unavailable("The database is unavailable or overloaded; try again shortly.")
            )
        case DataError():
            log.warning("the database refused a value", exc_info=exc)
            return InvalidRequest("A value is out of range.", code="out_of_range")
    return None


def invalid(detail: Any) -> InvalidRequest:
    """DRF's nested details as `{"field": ["sentence", …], "list.0.field": […]}`; the first sentence is the message."""
    details: dict[str, list[str]] = {}
    for path, sentence in _flatten(detail, ""):
        details.setdefault(path or "non_field_errors", []).append(sentence)
    if not details:
        return InvalidRequest()
    field, sentences = next(iter(details.items()))
    if field == "non_field_errors":
        return InvalidRequest(sentences[0], details=details)
    return InvalidRequest(f"{field}: {sentences[0]}", param=field, details=details)


def _flatten(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            # An object's own errors belong to the object.
            here = path if name in ("non_field_errors", "__all__") else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, here)
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list | tuple)
            yield from _flatten(inner, f"{path}.{index}" if nested and path else str(index) if nested else path)
    else:
        yield path, str(detail)


def _sentence(exc: exceptions.APIException) -> str | None:
    return str(exc.detail) if isinstance(exc.detail, str) else None
