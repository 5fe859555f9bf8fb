"""The URL of an HTTP tool: `{name}` in its path is filled from the arguments, and can change nothing but its own segment."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from agents.tools.base import JSON, ToolError
from aiagents.core import expansion, jsonio
from aiagents.core.outbound import guard as outbound
from aiagents.core.outbound.destinations import MOST_URL

_TOO_LONG = f"These values make a URL of more than {MOST_URL} characters; give shorter ones."
_PLACE = re.compile(r"{([A-Za-z_][A-Za-z0-9_]*)}")


def places(url: str) -> list[str]:
    """The names that the URL asks for, in order."""
    return _PLACE.findall(url)


def wrong_with(url: str, *, allow_private: bool = False) -> str:
    """What is wrong with a template, as a sentence for staff; empty when nothing is."""
    try:
        parts = urlsplit(_PLACE.sub("x", url))
        outside = urlsplit(url)
    except ValueError:
        return "This is not a valid URL."
    if _PLACE.search(outside.netloc) or _PLACE.search(outside.query) or _PLACE.search(outside.fragment):
        return "Only the path may hold {name}: the host is yours, and other arguments become the query or the body."
    if "{" in parts.path + parts.netloc + parts.query or "}" in parts.path + parts.netloc + parts.query:
        return "A place to be filled is written {name}: letters, digits and underscores."
    try:
        outbound.check_spelling(_PLACE.sub("x", url), allow_private=allow_private)
    except outbound.BlockedUrl as exc:
        return exc.message
    return ""


def fill(url: str, arguments: JSON) -> tuple[str, JSON]:
    """The URL with its places filled, and the arguments that are left. ToolError for a value that would leave its place."""
    names = places(url)
    if missing := [name for name in names if arguments.get(name) in (None, "")]:
        raise ToolError(f"{missing[0]} is needed.")
    try:
        filled = expansion.filled(_PLACE, url, lambda name: _segment(name, arguments[name]), MOST_URL)
    except expansion.TooLong:
        raise ToolError(_TOO_LONG) from None
    path = urlsplit(filled).path
    # Two harmless values side by side may make one that is not.
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ToolError("These values do not make a path.")
    return filled, {name: value for name, value in arguments.items() if name not in names}


def with_query(url: str, arguments: JSON) -> str:
    """The URL with the arguments as its query; lists repeat the name, objects are JSON. ToolError where no URL is so long."""
    pairs: list[tuple[str, str]] = []
    for name, value in arguments.items():
        pairs += [(name, _word(one)) for one in (value if isinstance(value, list) else [value]) if one is not None]
    if not pairs:
        return url
    # Encoding makes a text longer, never shorter.
    if len(url) + sum(len(name) + len(word) + 2 for name, word in pairs) > MOST_URL:
        raise ToolError(_TOO_LONG)
    address, _, _ = url.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{urlencode(pairs, quote_via=quote)}"


def _segment(name: str, value: Any) -> str:
    text = _word(value)
    if len(text) > MOST_URL:  # before it is encoded
        raise ToolError(_TOO_LONG)
    # Escaped it stays one segment here; servers that unescape first would still climb.
    if any(part in (".", "..") for part in re.split(r"[/\\]", text)) or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ToolError(f"{name} may not be a path.")
    return quote(text, safe="")


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return jsonio.dumps(value).decode()
