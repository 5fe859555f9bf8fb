"""Checks of a URL's destination: of the addresses that its host resolves to, never of its spelling (see addresses.py)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor

from yarl import URL

from aiagents.core.errors import InvalidRequest
from aiagents.core.outbound.addresses import may_reach

MOST_URL = 8000
# Separate threads for DNS, so that a hanging resolver does not block other work.
_dns = ThreadPoolExecutor(32, thread_name_prefix="dns")


class BlockedUrl(InvalidRequest):
    code = "blocked_url"
    message = "This address is not allowed."


class Unresolvable(BlockedUrl):
    """The host has no address at the moment."""

    retryable = True
    message = "The host name cannot be resolved."


def check_url(url: str, *, allow_private: bool = False) -> list[str]:
    """The addresses that the URL's host resolves to. Raises BlockedUrl unless all are allowed. Blocks on DNS.

    The caller must connect to one of these and not resolve again: the second answer may differ.
    """
    target = parse(url, allow_private)
    return _allowed(resolve_host(target.raw_host or "", target.port or 443), allow_private)


def check_spelling(url: str, *, allow_private: bool = False) -> None:
    """Raise BlockedUrl for errors visible without DNS: scheme, user name, port, control characters, a refused address."""
    address = literal(parse(url, allow_private).raw_host or "")
    if address is not None and not may_reach(address, allow_private):
        raise BlockedUrl


def parse(url: str, allow_private: bool) -> URL:
    """Parse a URL for the check and for the connection; two parsers could disagree about the host. Raises BlockedUrl."""
    if len(url) > MOST_URL:
        raise BlockedUrl(f"A URL has at most {MOST_URL} characters.")
    if any(ord(char) <= 32 or char == "\\" or ord(char) == 127 for char in url):
        raise BlockedUrl("A URL may not contain spaces, backslashes or control characters.")
    try:
        found = URL(url)
        port = found.explicit_port
        host = found.raw_host
    except (ValueError, UnicodeError):
        raise BlockedUrl("This is not a valid URL.") from None
    if found.scheme not in ("http", "https") or not host:
        raise BlockedUrl("Only http:// and https:// URLs with a host are allowed.")
    if found.raw_user is not None or found.raw_password is not None or "@" in found.raw_authority:
        raise BlockedUrl("A URL may not carry a user name or password.")
    if port is not None and (port == 0 or (port < 1024 and port not in (80, 443) and not allow_private)):
        raise BlockedUrl("This port may not be used.")
    return found.with_fragment(None)


def literal(host: str) -> str | None:
    """The IP address of a host in any spelling that resolvers accept (`127.1`, `0x7f.1`, `2130706433`); None for a name."""
    bare = host.strip("[]").rstrip(".")
    try:
        return str(ipaddress.ip_address(bare.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except (OSError, UnicodeError, ValueError):
        return None


def joined(base: URL, location: str, allow_private: bool) -> URL:
    wrong = BlockedUrl("The server redirects to an invalid URL.")
    if any(ord(char) <= 32 or char == "\\" or ord(char) == 127 for char in location) or len(location) > MOST_URL:
        raise wrong
    try:
        joined = str(base.join(URL(location)))
    except (ValueError, UnicodeError):
        raise wrong from None
    return parse(joined, allow_private)


async def checked(target: URL, allow_private: bool) -> list[str]:
    """The addresses of the URL's host, resolved in a thread. Raises BlockedUrl unless all are allowed."""
    loop = asyncio.get_running_loop()
    return _allowed(await loop.run_in_executor(_dns, resolve_host, target.raw_host or "", target.port or 443), allow_private)


def resolve_host(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unresolvable from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _allowed(addresses: list[str], allow_private: bool) -> list[str]:
    # One private address among public ones is enough to refuse.
    if not addresses or not all(may_reach(address, allow_private) for address in addresses):
        raise BlockedUrl
    return addresses
