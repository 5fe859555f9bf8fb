"""The URL template of an HTTP tool. An argument fills `{name}` in the path and can change only its own segment."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from agents.tools.base import JSON, ToolError
from aiagents.core import expansion, jsonio
from aiagents.core.outbound import guard as outbound
from aiagents.core.outbound.destinations import MOST_URL

_TOO_LONG = f"These values make a URL of more than {MOST_URL} characters; give shorter ones."
_PLACEHOLDER = re.compile(r"{([A-Za-z_][A-Za-z0-9_]*)}")


def placeholders(url: str) -> list[str]:
    """Return the placeholders of the URL, in order."""
    return _PLACEHOLDER.findall(url)


def wrong_with(url: str, *, allow_private: bool = False) -> str:
    """Return the error of a template as a sentence for staff; empty for a valid template."""
    try:
        parts = urlsplit(_PLACEHOLDER.sub("x", url))
        outside = urlsplit(url)
    except ValueError:
        return "This is not a valid URL."
    if _PLACEHOLDER.search(outside.netloc) or _PLACEHOLDER.search(outside.query) or _PLACEHOLDER.search(outside.fragment):
        return "Only the path may hold {name}: the host is yours, and other arguments become the query or the body."
    if "{" in parts.path + parts.netloc + parts.query or "}" in parts.path + parts.netloc + parts.query:
        return "Write a placeholder as {name}, with letters, digits and underscores."
    try:
        outbound.check_spelling(_PLACEHOLDER.sub("x", url), allow_private=allow_private)
    except outbound.BlockedUrl as exc:
        return exc.message
    return ""


def fill(url: str, arguments: JSON) -> tuple[str, JSON]:
    """Return the URL with filled placeholders, and the other arguments. Raises ToolError for a value that is a path."""
    names = placeholders(url)
    if missing := [name for name in names if arguments.get(name) in (None, "")]:
        raise ToolError(f"{missing[0]} is required.")
    try:
        filled = expansion.filled(_PLACEHOLDER, url, lambda name: _segment(name, arguments[name]), MOST_URL)
    except expansion.TooLong:
        raise ToolError(_TOO_LONG) from None
    path = urlsplit(filled).path
    # Two values in one segment may form `..` together.
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ToolError("These values do not form a valid path.")
    return filled, {name: value for name, value in arguments.items() if name not in names}


def with_query(url: str, arguments: JSON) -> str:
    """Return the URL with the arguments as its query. Lists repeat the name, objects are JSON. Raises ToolError if too long."""
    pairs: list[tuple[str, str]] = []
    for name, value in arguments.items():
        pairs += [(name, _as_text(one)) for one in (value if isinstance(value, list) else [value]) if one is not None]
    if not pairs:
        return url
    # Checked before encoding, which never makes a text shorter.
    if len(url) + sum(len(name) + len(text) + 2 for name, text in pairs) > MOST_URL:
        raise ToolError(_TOO_LONG)
    address, _, _ = url.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{urlencode(pairs, quote_via=quote)}"


def _segment(name: str, value: Any) -> str:
    text = _as_text(value)
    if len(text) > MOST_URL:  # before it is encoded
        raise ToolError(_TOO_LONG)
    # An escaped `..` stays one segment here, but some servers unescape it before they resolve the path.
    if any(part in (".", "..") for part in re.split(r"[/\\]", text)) or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ToolError(f"{name} may not be a path.")
    return quote(text, safe="")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return jsonio.dumps(value).decode()
