"""The errors that clients see: `code`, `status` and `retryable` on the class, and one rendering for every endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class AppError(Exception):
    """An error a client may see. `message` is a sentence for a person; `details` is JSON."""

    type = "internal_error"
    code = "internal_error"
    status = 500
    retryable = False
    retry_after: float | None = None
    # Further headers of the response.
    headers: ClassVar[Mapping[str, str]] = {}
    message = "An internal error occurred on the server."

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message or self.message
        self.code = code or self.code
        self.param = param
        self.details = details or {}
        self.retry_after = self.retry_after if retry_after is None else retry_after
        super().__init__(self.message)

    def body(self, request_id: str) -> dict[str, Any]:
        """The contract's error object, the same for HTTP, SSE and WebSocket."""
        return {
            "error": {
                "type": self.type,
                "message": self.message,
                "code": self.code,
                "param": self.param,
                "details": self.details,
                "request_id": request_id,
            }
        }


class InvalidRequest(AppError):
    type = code = "invalid_request"
    status = 400
    message = "The request is not valid."


class NotAuthenticated(AppError):
    type = code = "not_authenticated"
    status = 401
    message = "A valid access token or API key is required."


class BudgetExceeded(AppError):
    """`details` names the budget, its limit, what is spent and held, all USD strings."""

    type = code = "budget_exceeded"
    status = 402
    message = "This request exceeds the remaining budget."


class PermissionDenied(AppError):
    type = code = "permission_denied"
    status = 403
    message = "You do not have permission to do this."


class NotFound(AppError):
    type = code = "not_found"
    status = 404
    message = "Not found."


class ModelNotFound(NotFound):
    code = "model_not_found"
    message = "There is no such model."


class MethodNotAllowed(AppError):
    type = code = "method_not_allowed"
    status = 405
    message = "This method is not allowed here."


class Conflict(AppError):
    type = code = "conflict"
    status = 409
    message = "The request conflicts with the current state."


class PayloadTooLarge(AppError):
    type = code = "payload_too_large"
    status = 413
    message = "The request is too large."


class RateLimited(AppError):
    type = code = "rate_limited"
    status = 429
    retryable = True
    message = "Too many requests; try again later."


class Unavailable(AppError):
    """A required service is unavailable; nothing was charged."""

    type = code = "unavailable"
    status = 503
    retryable = True
    retry_after = 2
    message = "A part of the service is unavailable; try again shortly."


class NoModelAvailable(AppError):
    """No candidate could answer; `details.tried` lists each with its reason."""

    type = "provider_error"
    code = "no_model_available"
    status = 503
    retryable = True
    message = "No model is available for this request now."
