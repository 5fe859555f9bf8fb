"""Strict reading of request headers, and the security headers of responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from urllib.parse import unquote_to_bytes

from django.conf import settings

from aiagents.core.errors import InvalidRequest
from aiagents.core.http import url_secrets

RawHeaders = Iterable[tuple[bytes, bytes]]
# Two of one of these would be ambiguous: proxies and applications may use different ones.
SINGLE = frozenset({"authorization", "x-api-key", "x-goog-api-key", "content-length", "content-type", "idempotency-key", "host"})


def read(raw: RawHeaders) -> dict[str, str]:
    """Headers by lower-case name; several of one name are joined by commas. Never raises; see `check`."""
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        text = value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def check(raw: RawHeaders) -> None:
    """Raise InvalidRequest when a header of SINGLE occurs twice."""
    seen = set()
    for name, _ in raw:
        key = name.decode("latin-1").lower()
        if key in SINGLE:
            if key in seen:
                raise InvalidRequest(f"The header {key} may occur only once.", code="duplicate_header", param=key)
            seen.add(key)


def check_target(raw_path: bytes, query: bytes) -> None:
    """Raise InvalidRequest for NUL or invalid UTF-8 in the decoded path or query, or a credential in the query."""
    if b"%" in raw_path or not raw_path.isascii() or b"\x00" in raw_path:
        _decode(raw_path, "path")
    if b"%" in query or not query.isascii() or b"\x00" in query:
        _decode(query, "query")
    if query and (name := url_secrets.name_of_one(query)) is not None:
        raise InvalidRequest(
            "A URL may not contain a credential, because URLs are logged. "
            "Send it in the Authorization header, in x-api-key or in x-goog-api-key.",
            code="credential_in_url",
            param=name[:100],
        )


def _decode(raw: bytes, where: str) -> None:
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"The {where} is not valid UTF-8.", code="invalid_text", param=where) from exc
    if "\x00" in text:
        raise InvalidRequest(f"The {where} may not contain NUL.", code="invalid_text", param=where)


@cache
def security() -> tuple[tuple[bytes, bytes], ...]:
    """The security headers of every API response."""
    found = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", settings.SECURE_REFERRER_POLICY.encode()),
        (b"x-frame-options", settings.X_FRAME_OPTIONS.encode()),
        (b"cross-origin-opener-policy", settings.SECURE_CROSS_ORIGIN_OPENER_POLICY.encode()),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    ]
    if settings.SECURE_HSTS_SECONDS:
        value = f"max-age={settings.SECURE_HSTS_SECONDS}"
        value += "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
        value += "; preload" if settings.SECURE_HSTS_PRELOAD else ""
        found.append((b"strict-transport-security", value.encode()))
    return tuple(found)


def encode(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers as ASGI sends them. A line break in a value would start another header, so it becomes a space."""
    return [
        (name.lower().encode("latin-1"), value.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace"))
        for name, value in headers.items()
    ]
