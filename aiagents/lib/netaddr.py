"""From where a request comes: the address that counts, and the bucket it is counted in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

from django.conf import settings

# What TRUSTED_PROXIES calls a proxy that reaches us over a Unix socket and so has no address.
UNIX = "unix"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_ip(peer: str, headers: Mapping[str, str]) -> str:
    """The address of the client: the connection's peer or, where that is one of `TRUSTED_PROXIES`, what it forwarded.

    `X-Forwarded-For` is read from the right, as far as each hop is trusted: what a client wrote there itself is never
    believed. No other header is looked at. Header names are lower-case, several headers of one name joined by commas.
    """
    trusted = settings.TRUSTED_PROXIES
    if not trusted:
        return peer
    hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    found = peer
    while hops and _is_trusted(found, tuple(trusted)):
        address = _parse(hops.pop())
        if address is None:  # a proxy that forwards no address: the last one known
            break
        found = str(address)
    return found


def scheme(peer: str, forwarded: str, own: str) -> str:
    """`https` or `http`: the connection's own or, where its peer is one of `TRUSTED_PROXIES`, what that proxy said last."""
    said = forwarded.rpartition(",")[2].strip().lower()
    return said if said in ("https", "http") and _is_trusted(peer, tuple(settings.TRUSTED_PROXIES)) else own


@lru_cache(maxsize=4096)
def bucket_ip(ip: str) -> str:
    """What one client can easily call its own: an IPv4 address, or the /64 of an IPv6 address."""
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
    """An address with or without brackets, port or zone; an IPv4 address inside IPv6 as what it is."""
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
