"""Whether other machines can reach this installation; some conveniences are for a local one only."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

# The last is the host of Django's test client.
_LOCAL_NAMES = frozenset({"localhost", "testserver"})


def why_reachable(
    environment: str, host: str, site_url: str, allowed_hosts: Sequence[str] = (), trusted_proxies: Sequence[str] = ()
) -> str:
    """The setting by which other machines can reach this installation, as half a sentence; empty if there is none."""
    if environment == "production":
        return "ENVIRONMENT is production"
    if not _is_loopback(host):
        return f"HOST={host} can be reached from other machines"
    parts = urlsplit(site_url)
    if parts.scheme == "https" or not _is_loopback(parts.hostname or "localhost"):
        return f"SITE_URL={site_url} is a public address"
    if public := [name for name in allowed_hosts if not _is_loopback(name)]:
        return f"ALLOWED_HOSTS allows requests for {public[0]}"
    if trusted_proxies:
        return "TRUSTED_PROXIES names a proxy, which serves other machines"
    return ""


def _is_loopback(host: str) -> bool:
    name = host.strip("[]").lower()
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
