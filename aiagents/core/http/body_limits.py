"""The maximum number of bytes of a request body, per endpoint.

An asynchronous endpoint declares its limit as `Endpoint.max_body_bytes`, a view as its attribute `max_body_bytes`. The
default is SMALL. `MAX_BODY_BYTES` bounds all of them. The server counts while a body arrives, so that it never buffers
more than the limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.urls import Resolver404, resolve

from aiagents.core.errors import PayloadTooLarge

Receive = Callable[[], Awaitable[dict[str, Any]]]
SMALL = 16 * 1024
# A comment of some thousand characters, each of which may be escaped as two surrogates of six bytes.
COMMENT = 64 * 1024
# A long text of characters of three bytes, each byte percent-encoded or each character escaped.
FORM = 2 * 1024 * 1024
# A JSON body with texts and schemas but without attachments.
TEXT = 4 * 1024 * 1024
# As much as MAX_BODY_BYTES allows: prompts of up to a million characters, and attachments.
CONTENT = 2**62


# The key in an ASGI scope with the limit that the request's body exceeded; the rest of that body was not read.
CUT = "aiagents.body_cut_at"


def bounded(declared: int) -> int:
    """The limit of an endpoint that declares `declared`."""
    return min(declared, settings.MAX_BODY_BYTES)


def small() -> int:
    """The limit up to which a body is accepted without a look-up of its endpoint."""
    return bounded(SMALL)


def check_announced(announced: str, limit: int) -> None:
    """Raise PayloadTooLarge if a Content-Length (digits) is over `limit`."""
    if len(announced) > 18 or int(announced) > limit:
        raise too_large(limit)


def too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body of this request may have at most {limit:,} bytes.", details={"max_bytes": limit})


def of_view(path: str) -> int:
    """The limit of the Django view that serves `path`; SMALL if no view does."""
    try:
        callback: Any = resolve(path).func
    except (Resolver404, ValueError, UnicodeError):
        return bounded(SMALL)
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None) or callback
    declared = getattr(view, "max_body_bytes", None)
    if declared is None:  # the admin site wraps its views, which are all forms; its sign-in page is not wrapped
        declared = FORM if hasattr(callback, "admin_site") or hasattr(callback, "model_admin") else SMALL
    return bounded(declared)


def counted(scope: dict[str, Any], receive: Receive) -> Receive:
    """A `receive` for Django that ends the body one byte after the view's limit.

    Django reads a whole body before it calls a view. When the limit is exceeded `scope[CUT]` holds it, and the middleware
    answers 413. Our own server counts by itself; other servers do not.
    """
    limit = size = 0

    async def limited() -> dict[str, Any]:
        nonlocal limit, size
        message = await receive()
        while CUT in scope and message["type"] == "http.request":  # drop the rest of the body
            message = await receive()
        size += len(message.get("body", b""))
        if size <= small() or message["type"] != "http.request":
            return message
        limit = limit or of_view(scope["path"])
        if size <= limit:
            return message
        scope[CUT] = limit
        return {"type": "http.request", "body": b"", "more_body": False}

    return limited
