"""CORS at the hot doors, from the settings that django-cors-headers reads for the others."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

Headers = list[tuple[bytes, bytes]]
MAX_AGE = b"86400"
# Vendors' own browser clients announce themselves by whole families of headers.
_FAMILIES = ("x-stainless-", "anthropic-", "openai-")


def headers(origin: str | None) -> Headers:
    """What a listed origin may see; for any other only the note to caches. Never with credentials: tokens are headers here."""
    if not settings.CORS_ALLOWED_ORIGINS:
        return []
    found = [(b"vary", b"origin")]
    if origin is not None and origin in settings.CORS_ALLOWED_ORIGINS:
        found.append((b"access-control-allow-origin", origin.encode("latin-1")))
        found.append((b"access-control-expose-headers", ", ".join(settings.CORS_EXPOSE_HEADERS).encode()))
    return found


def preflight(origin: str | None, asked: str, methods: Iterable[str]) -> Headers:
    """The answer to a browser's question before a cross-origin request."""
    found = headers(origin)
    if len(found) > 1:
        wanted = [name.strip().lower() for name in asked.split(",")]
        allowed = [
            *settings.CORS_ALLOW_HEADERS,
            *(name for name in wanted if name.startswith(_FAMILIES) and name.replace("-", "").isalnum()),
        ]
        found.append((b"access-control-allow-methods", ", ".join(sorted({*methods, "OPTIONS"})).encode()))
        found.append((b"access-control-allow-headers", ", ".join(dict.fromkeys(allowed)).encode()))
        found.append((b"access-control-max-age", MAX_AGE))
    return found
