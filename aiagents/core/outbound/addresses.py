"""Which IP addresses an untrusted URL may reach.

The properties of `ipaddress` are not a sufficient filter: `64:ff9b::a00:1` and `224.0.0.1` are "global", `100.64.0.1` is
not "private". So the refused networks are listed here.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator

import psutil

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# All of the IANA special-purpose address registries, and multicast. Some entries are globally reachable (AS112, AMT), but
# no tool, webhook or vendor has its service there. Compared with the registries as retrieved on 2026-09-17 (26 entries for
# IPv4, 25 for IPv6): each entry is one of these networks or part of one.
# https://www.iana.org/assignments/iana-ipv4-special-registry
# https://www.iana.org/assignments/iana-ipv6-special-registry
SPECIAL = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private use",
    "100.64.0.0/10": "shared address space of carriers",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private use",
    "192.0.0.0/24": "IETF protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relay anycast, deprecated",
    "192.168.0.0/16": "private use",
    "192.175.48.0/24": "direct delegation of AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, and limited broadcast",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::ffff:0:0/96": "IPv4-mapped",
    "64:ff9b::/96": "IPv4-IPv6 translation (NAT64)",
    "64:ff9b:1::/48": "IPv4-IPv6 translation, local use",
    "100::/64": "discard-only",
    "100:0:0:1::/64": "dummy prefix",
    "2001::/23": "IETF protocol assignments: Teredo, benchmarking (2001:2::/48), AMT, AS112, ORCHID (2001:10::/28, 2001:20::/28)",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "direct delegation of AS112",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing (SRv6) SIDs",
    "fc00::/7": "unique-local",
    "fe80::/10": "link-local",
    # No longer in the registries, or in other ones.
    "::/96": "IPv4-compatible, deprecated",
    "::ffff:0:0:0/96": "IPv4-translated (SIIT)",
    "fec0::/10": "site-local, deprecated",
    "ff00::/8": "multicast",
}
_REFUSED = [ipaddress.ip_network(net) for net in SPECIAL]
# The whole range that IANA has allocated for global unicast. https://www.iana.org/assignments/ipv6-address-space
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Refused even with `allow_private`: metadata services of clouds (link-local; Azure, Alibaba, Oracle, AWS) and addresses of no host.
_NEVER = [
    ipaddress.ip_network(net)
    for net in (
        "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32", "fe80::/10",
        "0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8",
    )
]  # fmt: skip
_EMBEDDING = [ipaddress.IPv6Network(net) for net in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")]
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_FRESH_SECONDS = 30.0
own_addresses: tuple[float, frozenset[str]] = (0.0, frozenset())


def is_public(address: str) -> bool:
    """Whether the IP address is on the public internet."""
    ip = _read(address)
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _GLOBAL_UNICAST or _is_isatap(ip)):
        return False
    return not any(ip in net for net in _REFUSED if net.version == ip.version)


def may_reach(address: str, allow_private: bool) -> bool:
    """Whether a connection to the address is allowed. `allow_private`: staff configured it as part of their own network."""
    ip = _read(address)
    if any(one in net for one in (ip, *_inside(ip)) for net in _NEVER if net.version == one.version):
        return False
    # A machine's own public address also reaches its services that a firewall hides from others.
    return allow_private or (is_public(address) and str(ip) not in _own_addresses())


def same(one: str, other: str) -> bool:
    """Whether two spellings mean the same address."""
    return _read(one) == _read(other)


def _read(address: str) -> Address:
    return ipaddress.ip_address(address.partition("%")[0])


def _inside(ip: Address) -> Iterator[Address]:
    """IPv4 addresses embedded in an IPv6 address: mapped, compatible, NAT64, ISATAP, 6to4, Teredo (client and server)."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return
    low = int(ip) & 0xFFFFFFFF
    if (any(ip in net for net in _EMBEDDING) and int(ip) > 1) or _is_isatap(ip):  # :: and ::1 embed none
        yield ipaddress.IPv4Address(low)
    if ip in _LOCAL_NAT64:
        yield from _translated(int(ip))
    if ip.sixtofour:
        yield ip.sixtofour
    if ip.teredo:
        yield from ip.teredo


def _is_isatap(ip: ipaddress.IPv6Address) -> bool:
    """Whether the interface identifier is `[02]00:5efe:a.b.c.d` under any prefix (RFC 5214, 6.1); its u and g bits do not matter."""
    return (int(ip) >> 32) & 0xFCFFFFFF == 0x00005EFE


def _translated(ip: int) -> Iterator[Address]:
    """The IPv4 address under a NAT64 prefix of 48, 56, 64 or 96 bits; it leaves out bits 64 to 71 (RFC 6052, 2.2)."""
    squeezed = (ip >> 64 << 56) | (ip & (1 << 56) - 1)  # without those eight bits: 120 remain
    for found in (*(squeezed >> (120 - prefix - 32) & 0xFFFFFFFF for prefix in (48, 56, 64)), ip & 0xFFFFFFFF):
        # With the wrong prefix length the address usually begins with zeros.
        if found >> 24:
            yield ipaddress.IPv4Address(found)


def _own_addresses() -> frozenset[str]:
    global own_addresses
    now = time.monotonic()
    if not own_addresses[1] or now - own_addresses[0] > _FRESH_SECONDS:
        every = (entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries)
        own_addresses = (now, frozenset(every))
    return own_addresses[1]
