"""CORS of the asynchronous endpoints, from the settings that django-cors-headers reads for Django's views."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

Headers = list[tuple[bytes, bytes]]
MAX_AGE = b"86400"
# The vendors' browser clients send headers with these prefixes.
_FAMILIES = ("x-stainless-", "anthropic-", "openai-")


def headers(origin: str | None) -> Headers:
    """The CORS headers for a listed origin; for any other only `Vary`. Never with credentials: tokens are headers here."""
    if not settings.CORS_ALLOWED_ORIGINS:
        return []
    found = [(b"vary", b"origin")]
    if origin is not None and origin in settings.CORS_ALLOWED_ORIGINS:
        found.append((b"access-control-allow-origin", origin.encode("latin-1")))
        found.append((b"access-control-expose-headers", ", ".join(settings.CORS_EXPOSE_HEADERS).encode()))
    return found


def preflight(origin: str | None, requested: str, methods: Iterable[str]) -> Headers:
    """The headers of the response to a preflight request; `requested` is its Access-Control-Request-Headers."""
    found = headers(origin)
    if len(found) > 1:
        wanted = [name.strip().lower() for name in requested.split(",")]
        allowed = [
            *settings.CORS_ALLOW_HEADERS,
            *(name for name in wanted if name.startswith(_FAMILIES) and name.replace("-", "").isalnum()),
        ]
        found.append((b"access-control-allow-methods", ", ".join(sorted({*methods, "OPTIONS"})).encode()))
        found.append((b"access-control-allow-headers", ", ".join(dict.fromkeys(allowed)).encode()))
        found.append((b"access-control-max-age", MAX_AGE))
    return found
