"""Detection of credentials in a query string. URLs are logged by every proxy, so a credential there is refused.

This holds for HTTP requests and for WebSocket handshakes, where browsers cannot set headers. In our own log such parameters
are redacted (redact.py). Names are compared as an application would read them: percent-decoded (`t%6fken` is `token`), in
any case, and with any separator that frameworks accept.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_plus

_NAMES = frozenset({
    "accesskey", "accesstoken", "apikey", "apitoken", "auth", "authorization", "authtoken", "bearer", "bearertoken", "clientsecret",
    "idtoken", "jwt", "passwd", "password", "refresh", "refreshtoken", "secret", "sessionid", "sessiontoken", "ticket", "token",
    "xapikey", "xauthtoken", "xgoogapikey",
})  # fmt: skip
# The value is one of our keys or a JSON web token; its name does not matter.
_VALUE = re.compile(r"aia_[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*=*")
# `key` is a credential at other products and the id of one here.
_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}")
_SEPARATORS = re.compile(r"[&;]")
# Layers of percent-encoding that are decoded; no client needs more.
_MOST_LAYERS = 4


def holds_one(query: bytes) -> bool:
    """Whether a parameter of the raw query string has the name of a credential, or a value that is one of ours."""
    text = query.decode("latin-1")
    if "token" in decoded(text).casefold():
        return True
    return name_of_one(query) is not None


def name_of_one(query: bytes) -> str | None:
    """The decoded name of the first parameter that is a credential by its name or its value; None if there is none.

    Unlike `holds_one` it allows the text `token` inside a value, e.g. in a search.
    """
    for pair in _SEPARATORS.split(query.decode("latin-1")):
        name, _, value = pair.partition("=")
        plain = decoded(value)
        if is_secret_name(name) or _VALUE.fullmatch(plain) or (_simple(decoded(name)) == "key" and plain and not _ID.fullmatch(plain)):
            return decoded(name)
    return None


def is_secret_name(name: str) -> bool:
    """Whether a parameter's name, still percent-encoded, is that of a credential."""
    plain = unicodedata.normalize("NFKC", decoded(name)).casefold()
    # Frameworks with nested parameters read `auth[token]` and `auth.token` as `token`.
    last = re.split(r"[.\[\]]", plain.rstrip("]"))[-1]
    return any(_simple(one) in _NAMES for one in (plain, last))


def _simple(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKC", name).casefold())


def decoded(text: str) -> str:
    """The text percent-decoded, up to _MOST_LAYERS times."""
    for _ in range(_MOST_LAYERS):
        if "%" not in text and "+" not in text:
            break
        text = unquote_plus(text)
    return text
