"""Errors as rows keep them: the contract's error object with `status`, `retryable` and `retry_after`."""

from __future__ import annotations

from typing import Any

from aiagents.core import jsonio
from aiagents.core.errors import AppError


class StoredError(AppError):
    """A stored error, raised again. `details` are added to its own."""

    def __init__(self, stored: dict[str, Any] | None, details: dict[str, Any]) -> None:
        error = stored or {}
        super().__init__(
            error.get("message"), code=error.get("code"), param=error.get("param"), details={**(error.get("details") or {}), **details},
            retry_after=error.get("retry_after"),
        )  # fmt: skip
        self.type, self.status = error.get("type", self.type), error.get("status", self.status)
        self.retryable = error.get("retryable", False)


def to_store(error: AppError, request_id: str) -> dict[str, Any]:
    """The error as a row keeps it. JSON: what is stored and what was sent are equal."""
    more = {"status": error.status, "retryable": error.retryable, "retry_after": error.retry_after}
    stored: dict[str, Any] = jsonio.exact(jsonio.dumps(error.body(request_id)["error"] | more))
    return stored
