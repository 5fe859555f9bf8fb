"""The check of Host against ALLOWED_HOSTS, for every endpoint: asynchronous, Django's views, WebSockets, probes.

It stops DNS rebinding: a page whose name was rebound to our address sends its own name as Host. Without this check it
could call a server that listens on loopback only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from aiagents.core.errors import InvalidRequest

# Load balancers request these by IP address. Rebinding cannot use that, for Host would then hold the page's name.
PROBES = frozenset({"/health", "/health/ready"})


def check(headers: Mapping[str, str], path: str) -> None:
    """Raise InvalidRequest (`host_not_allowed`) unless Host is one of ALLOWED_HOSTS; at probes also any IP address.

    `headers` have lower-case names. A request without Host is refused too.
    """
    if not allowed(headers.get("host", ""), path):
        raise InvalidRequest("This host name is not served here.", code="host_not_allowed", param="host")


def allowed(host: str, path: str) -> bool:
    """Whether a request for `path` may name this host (a name or an address, with or without a port)."""
    return _is_allowed(host, tuple(settings.ALLOWED_HOSTS)) or (path in PROBES and is_address(host))


def is_address(host: str) -> bool:
    """Whether it is an IP address, with or without a port."""
    domain, _ = split_domain_port(host)
    try:
        ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def _is_allowed(host: str, among: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, among)
