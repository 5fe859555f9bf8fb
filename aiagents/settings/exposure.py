"""Who can reach this installation: what is convenient on one's own machine is not given to others."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

# The last is what Django's test client calls itself.
_LOCAL_NAMES = frozenset({"localhost", "testserver"})


def why_reachable(
    environment: str, host: str, site_url: str, allowed_hosts: Sequence[str] = (), trusted_proxies: Sequence[str] = ()
) -> str:
    """Which setting says that others than this machine's user are served, as half a sentence; empty if none does."""
    if environment == "production":
        return "ENVIRONMENT is production"
    if not _is_loopback(host):
        return f"HOST={host} can be reached from other machines"
    parts = urlsplit(site_url)
    if parts.scheme == "https" or not _is_loopback(parts.hostname or "localhost"):
        return f"SITE_URL={site_url} is a public address"
    if public := [name for name in allowed_hosts if not _is_loopback(name)]:
        return f"ALLOWED_HOSTS lets requests for {public[0]} in"
    if trusted_proxies:
        return "TRUSTED_PROXIES names a proxy, which serves others"
    return ""


def _is_loopback(host: str) -> bool:
    name = host.strip("[]").lower()
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
