"""The client's address of a request, and the rate limit bucket of that address."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

from django.conf import settings

# The entry of TRUSTED_PROXIES for a proxy that connects over a Unix socket and so has no address.
UNIX = "unix"
# Headers that show that a proxy forwarded the request; every header that begins with `x-forwarded` does so too.
_PROXY_HEADERS = frozenset(
    {
        "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "x-original-host",
        "true-client-ip", "client-ip", "cdn-loop", "cf-connecting-ip", "cf-ray", "fastly-client-ip", "fly-client-ip",
        "x-amzn-trace-id", "x-azure-clientip", "x-arr-log-id", "x-envoy-external-address", "x-appengine-user-ip",
    }
)  # fmt: skip
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_ip(peer: str, headers: Mapping[str, str]) -> str:
    """The address of the client: the connection's peer or, if that is one of `TRUSTED_PROXIES`, what it forwarded.

    `X-Forwarded-For` is read from the right, as long as each hop is trusted, so a value that the client itself sent is
    never used. No other header is read. Header names are lower-case; several headers of one name are joined by commas.
    """
    return _client(peer, headers)[0]


def _client(peer: str, headers: Mapping[str, str]) -> tuple[str, bool]:
    """The client's address, and whether it is known: False if a trusted proxy forwarded none."""
    trusted = tuple(settings.TRUSTED_PROXIES)
    if not trusted:
        return peer, True
    hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    found = peer
    while hops and _is_trusted(found, trusted):
        address = _parse(hops.pop())
        if address is None:
            return found, False  # the last one known
        found = str(address)
    return found, True


def comes_from(peer: str, headers: Mapping[str, str], networks: Sequence[str]) -> bool:
    """Whether the client itself has an address in one of `networks` (CIDRs).

    A request with a proxy's headers counts only if `TRUSTED_PROXIES` names that proxy and it forwarded an address. The
    peer of any other such request is the proxy, and its client is unknown. Header names are lower-case.
    """
    client, known = _client(peer, headers)
    if any(name in _PROXY_HEADERS or name.startswith("x-forwarded") for name in headers):
        believed = _is_trusted(peer, tuple(settings.TRUSTED_PROXIES)) and headers.get("x-forwarded-for", "").strip(" ,")
        if not (believed and known):
            return False
    return _is_trusted(client, tuple(networks))


def scheme(peer: str, forwarded: str, own: str) -> str:
    """`https` or `http`: the connection's scheme or, if its peer is one of `TRUSTED_PROXIES`, the last forwarded one."""
    found = forwarded.rpartition(",")[2].strip().lower()
    return found if found in ("https", "http") and _is_trusted(peer, tuple(settings.TRUSTED_PROXIES)) else own


@lru_cache(maxsize=4096)
def bucket_ip(ip: str) -> str:
    """The range that one client can easily control: an IPv4 address, or the /64 of an IPv6 address."""
    address = _parse(ip)
    if address is None:
        return ip[:64]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address) + "/64"


@lru_cache(maxsize=4096)
def _is_trusted(ip: str, proxies: Sequence[str]) -> bool:
    if not ip:
        return UNIX in proxies
    address = _parse(ip)
    return address is not None and any(address.version == network.version and address in network for network in _networks(proxies))


@lru_cache(maxsize=8)
def _networks(proxies: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(proxy, strict=False) for proxy in proxies if proxy != UNIX)


def _parse(text: str) -> Address | None:
    """Parse an address with or without brackets, port or zone. An IPv4-mapped IPv6 address becomes IPv4."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
