"""One guard for every address that a person or a model may choose: tools, webhooks, MCP, base URLs.

`ipaddress`'s own properties are no filter (`64:ff9b::a00:1` and `224.0.0.1` are "global", `100.64.0.1` is not
"private"), so the refused networks are listed. A name is judged by everything it resolves to, never by its spelling.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from aiagents.lib.errors import InvalidRequest

_REFUSED = [
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32", "2002::/16",
        "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
]  # fmt: skip
# Never allowed, not even inside one's own network: the cloud's metadata service and what is nobody's.
_NEVER = [ipaddress.ip_network(net) for net in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "0.0.0.0/8", "224.0.0.0/4", "ff00::/8")]


class BlockedUrl(InvalidRequest):
    code = "blocked_url"
    message = "This address may not be reached from here."


def is_public(address: str) -> bool:
    """Whether the IP address is one of the open internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return not any(ip in net for net in _REFUSED if net.version == ip.version)


def may_reach(address: str, allow_private: bool) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if any(one in net for one in (ip, mapped) if one is not None for net in _NEVER if net.version == one.version):
        return False
    return allow_private or is_public(address)


def check_url(url: str, *, allow_private: bool = False) -> list[str]:
    """The addresses to which the URL's host resolves, all of them allowed; BlockedUrl otherwise. Blocks on DNS.

    The caller must connect to one of these, not resolve again: a name may answer differently the second time.
    """
    if any(ord(char) <= 32 or char == "\\" or ord(char) == 127 for char in url):
        raise BlockedUrl("A URL may not contain spaces, backslashes or control characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BlockedUrl("This is not a valid URL.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BlockedUrl("Only http:// and https:// URLs with a host are allowed.")
    if parts.username is not None or parts.password is not None:
        raise BlockedUrl("A URL may not carry a user name or password.")
    if port is not None and port < 1024 and port not in (80, 443) and not allow_private:
        raise BlockedUrl("This port may not be used.")
    try:
        found = socket.getaddrinfo(parts.hostname, port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise BlockedUrl("The host's name cannot be resolved.") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(may_reach(address, allow_private) for address in addresses):
        raise BlockedUrl()
    return addresses
