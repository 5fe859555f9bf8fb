"""Which web pages may open the WebSocket: full origins, scheme and port included."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

_DEFAULT_PORTS = {"http": 80, "https": 443}


def allowed(origin: str | None, host: str, scheme: str) -> bool:
    """Whether a handshake may come from `origin`. None: not a page (a page always sends one); it must prove itself by token.

    `host` and `scheme` are the request's own: the same page served from here, under a name in ALLOWED_HOSTS.
    """
    if origin is None:
        return True
    asked = _parts(origin)
    if asked is None:
        return False
    if any(asked == _parts(one) for one in (settings.SITE_URL, *settings.WEBSOCKET_ORIGINS)):
        return True
    own = _parts(f"{scheme}://{host}")
    domain, _ = split_domain_port(host)
    return own is not None and asked == own and bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def _parts(origin: str) -> tuple[str, str, int] | None:
    """(scheme, host, port); None for what is no origin (`null`, a path, a user name, tricks)."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or parts.path not in ("", "/") or parts.query:
        return None
    return parts.scheme, parts.hostname.lower(), port or _DEFAULT_PORTS[parts.scheme]
