"""Which IP addresses may be reached on somebody else's word.

`ipaddress`'s own properties are no filter (`64:ff9b::a00:1` and `224.0.0.1` are "global", `100.64.0.1` is not
"private"), so the refused networks are listed.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator

import psutil

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_REFUSED = [
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64",
        "2001::/32", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
]  # fmt: skip
# Never, not even inside one's own network: metadata services of the clouds (link-local; Azure, Alibaba, Oracle, AWS) and what is nobody's.
_NEVER = [
    ipaddress.ip_network(net)
    for net in (
        "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32", "fe80::/10",
        "0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8",
    )
]  # fmt: skip
_EMBEDDING = [ipaddress.IPv6Network(net) for net in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")]
_FRESH_SECONDS = 30.0
_own: tuple[float, frozenset[str]] = (0.0, frozenset())


def is_public(address: str) -> bool:
    """Whether the IP address is one of the open internet."""
    ip = _read(address)
    return not any(ip in net for net in _REFUSED if net.version == ip.version)


def may_reach(address: str, allow_private: bool) -> bool:
    """Whether a connection to it may be made. `allow_private`: staff said that this one is in their own network."""
    ip = _read(address)
    if any(one in net for one in (ip, *_inside(ip)) for net in _NEVER if net.version == one.version):
        return False
    # By its public address a machine reaches services of its own that listen for nobody else.
    return allow_private or (is_public(address) and str(ip) not in _own_addresses())


def same(one: str, other: str) -> bool:
    """Whether two spellings are one address."""
    return _read(one) == _read(other)


def _read(address: str) -> Address:
    return ipaddress.ip_address(address.partition("%")[0])


def _inside(ip: Address) -> Iterator[Address]:
    """IPv4 addresses that an IPv6 address stands for: mapped, compatible, NAT64, 6to4, Teredo."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return
    if any(ip in net for net in _EMBEDDING) and int(ip) > 1:  # :: and ::1 are themselves
        yield ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.sixtofour:
        yield ip.sixtofour
    if ip.teredo:
        yield ip.teredo[1]


def _own_addresses() -> frozenset[str]:
    global _own
    now = time.monotonic()
    if not _own[1] or now - _own[0] > _FRESH_SECONDS:
        every = (entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries)
        _own = (now, frozenset(every))
    return _own[1]
