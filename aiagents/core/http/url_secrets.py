"""Credentials in a query string. A URL stands in the log of every machine on its way, so none is ever accepted there.

A WebSocket handshake with one is refused, for browsers cannot set headers there and clients are tempted. An HTTP request with one is
refused too: its client must not take the answer for one that its credential got. In our own log such parameters are hidden
(redact.py). Names are compared as an application would read them: percent-decoded (`t%6fken` is `token`), in any case, with any of
the separators that frameworks take.
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
# One of our keys, or a JSON web token, whatever its name is.
_VALUE = re.compile(r"aia_[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*=*")
# `key` is a credential at other products and the id of one here.
_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}")
_SEPARATORS = re.compile(r"[&;]")
# An encoded percent sign hides another layer; no client needs more of them.
_MOST_LAYERS = 4


def holds_one(query: bytes) -> bool:
    """Whether a parameter of the raw query string has the name of a credential, or a value that is one of ours."""
    text = query.decode("latin-1")
    if "token" in decoded(text).casefold():
        return True
    return name_of_one(query) is not None


def name_of_one(query: bytes) -> str | None:
    """The decoded name of the first parameter that is a credential by its name or by its value; None where there is none.

    Unlike `holds_one` it takes no word inside a value for one: a search for `token` is a search.
    """
    for pair in _SEPARATORS.split(query.decode("latin-1")):
        name, _, value = pair.partition("=")
        plain = decoded(value)
        if is_secret_name(name) or _VALUE.fullmatch(plain) or (_simple(decoded(name)) == "key" and plain and not _ID.fullmatch(plain)):
            return decoded(name)
    return None


def is_secret_name(name: str) -> bool:
    """Whether a parameter's name, still encoded, is that of a credential."""
    plain = unicodedata.normalize("NFKC", decoded(name)).casefold()
    # `auth[token]` and `auth.token` are `token` to frameworks that nest.
    last = re.split(r"[.\[\]]", plain.rstrip("]"))[-1]
    return any(_simple(one) in _NAMES for one in (plain, last))


def _simple(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKC", name).casefold())


def decoded(text: str) -> str:
    """The text without its percent-encoding, however many times it was encoded."""
    for _ in range(_MOST_LAYERS):
        if "%" not in text and "+" not in text:
            break
        text = unquote_plus(text)
    return text
