"""How many bytes of a body each endpoint reads. The endpoint declares it, and what reads the body looks it up here.

An endpoint beside Django declares it as `Door.add(max_body_bytes=…)`, a view as its attribute `max_body_bytes`. Without a
declaration it is SMALL. `MAX_BODY_BYTES` bounds them all. The server counts while a body arrives, so that nothing larger is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.urls import Resolver404, resolve

from aiagents.core.errors import PayloadTooLarge

Receive = Callable[[], Awaitable[dict[str, Any]]]
SMALL = 16 * 1024
# A remark of some thousand characters, each of which may be escaped as two halves of six bytes.
COMMENT = 64 * 1024
# A long text in a language whose letters take three bytes, each byte percent-encoded or each letter escaped.
FORM = 2 * 1024 * 1024
# A JSON body with texts and schemas but without attachments.
TEXT = 4 * 1024 * 1024
# Whatever MAX_BODY_BYTES allows: prompts of up to a million characters, and attachments.
CONTENT = 2**62


# The key in an ASGI scope under which stands the limit that a request's body went beyond: its rest was not read.
CUT = "aiagents.body_cut_at"


def bounded(declared: int) -> int:
    """The limit that holds where an endpoint declares `declared`."""
    return min(declared, settings.MAX_BODY_BYTES)


def small() -> int:
    """What every endpoint reads: a body that is no longer is taken without looking its endpoint up."""
    return bounded(SMALL)


def check_announced(announced: str, limit: int) -> None:
    """Raise PayloadTooLarge where a Content-Length (digits) is over `limit`."""
    if len(announced) > 18 or int(announced) > limit:
        raise too_large(limit)


def too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body of this request may have at most {limit:,} bytes.", details={"max_bytes": limit})


def of_view(path: str) -> int:
    """The limit of the Django view that serves `path`; SMALL where there is none."""
    try:
        callback: Any = resolve(path).func
    except (Resolver404, ValueError, UnicodeError):
        return bounded(SMALL)
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None) or callback
    declared = getattr(view, "max_body_bytes", None)
    if declared is None:  # the admin site wraps its views, all of which are forms; its log-in page is none of them
        declared = FORM if hasattr(callback, "admin_site") or hasattr(callback, "model_admin") else SMALL
    return bounded(declared)


def counted(scope: dict[str, Any], receive: Receive) -> Receive:
    """`receive` for Django, which reads a whole body before it looks at anything: it ends one byte after the view's limit.

    Then `scope[CUT]` holds the limit, and the middleware answers 413. Our own server counts by itself; others do not.
    """
    limit = size = 0

    async def limited() -> dict[str, Any]:
        nonlocal limit, size
        message = await receive()
        while CUT in scope and message["type"] == "http.request":  # no reader waits for the rest of it
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
