"""Checks of URLs that a client gives and a vendor fetches, such as an image's. The product never requests them itself.

Every endpoint that accepts such a URL calls `check`: the chat's parts and the three vendor-compatible APIs. The rule is
stricter than for URLs that we fetch (destinations.py), because we cannot know what the name resolves to at the vendor.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from aiagents.core.outbound import destinations
from aiagents.core.outbound.destinations import BlockedUrl

MOST_CHARACTERS = 2048
RULE = "an https URL of a public host name, without user name, IP address or fragment"
# Domains that exist inside a network only: RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`, and defaults of routers.
_PRIVATE_ENDINGS = frozenset({
    "alt", "arpa", "corp", "domain", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost",
    "mail", "onion", "private", "svc", "test", "workgroup",
})  # fmt: skip
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# A top-level domain: letters, or an internationalized one in its ASCII form.
_TOP = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
_AUTHORITY = re.compile(r"(https)://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)


def check(url: object) -> str:
    """The URL as it is sent to the vendor: unchanged, but with its host in ASCII. Raises BlockedUrl with the reason."""
    wrong = BlockedUrl(f"This must be {RULE}.")
    if not isinstance(url, str) or not url or len(url) > MOST_CHARACTERS or "#" in url:
        raise wrong
    target = destinations.parse(url, allow_private=False)
    match = _AUTHORITY.fullmatch(url)
    if match is None or target.scheme != "https" or "%" in match[2]:
        raise wrong
    host = (target.raw_host or "").lower()
    labels = host.split(".")
    if len(labels) < 2 or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise wrong
    if not _TOP.fullmatch(labels[-1]) or labels[-1] in _PRIVATE_ENDINGS or destinations.literal(host) is not None:
        raise wrong
    if match[2].isascii() and urlsplit(url).hostname == host:
        return url
    port = f":{target.explicit_port}" if target.explicit_port is not None else ""
    return f"https://{host}{port}{match[3]}"
