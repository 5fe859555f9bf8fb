"""Redaction of secrets in logs: by the name of a field, and by patterns of credentials in any text."""

from __future__ import annotations

import re
from typing import Any

from aiagents.core.http import url_secrets

HIDDEN = "[hidden]"
_NAMES = re.compile(
    r"(?:^|[_\-.])(?:authorization|cookie|set-cookie|password\d?|passwd|secret|secret_key|token|access|refresh|api[_-]?keys?|x-api-key|ticket|sessionid|csrf\w{0,40}|"
    r"private_key|encryption_keys?|credentials?)$",
    re.IGNORECASE,
)
# Names that match the pattern above and hold no secret.
_HARMLESS = frozenset({"max_tokens", "token_type"})
_QUICK = re.compile(
    r"aia_|sk-|bearer|api[_-]?key|pass|token|secret|cookie|authorization|eyJ|basic |AIza|ticket|://[^/@]*@|session", re.IGNORECASE
)
# Linear time on any text: bounded runs, possessive repeats. Ambiguous text is redacted.
_PATTERNS = (
    # Whole credentials anywhere in a text: our keys, vendors' keys, JSON web tokens.
    (re.compile(r"aia_[A-Za-z0-9_-]{4,}"), "aia_" + HIDDEN),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{6,}"), "sk-" + HIDDEN),
    (re.compile(r"AIza[A-Za-z0-9_-]{10,}"), "AIza" + HIDDEN),
    (re.compile(r"(?<![\w-])eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), HIDDEN),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), r"\1 " + HIDDEN),
    (re.compile(r"\bticket\.[A-Za-z0-9_-]{6,}"), "ticket." + HIDDEN),
    # Headers, to the end of their line.
    (
        re.compile(r"\b(authorization|(?:set-)?cookie|x-(?:goog-)?api-key)(\\*[\"']?\s{0,9}[=:]\s{0,9})[^\n]+", re.IGNORECASE),
        r"\1\2" + HIDDEN,
    ),
    # name=value, name: value, "name": "value", also escaped once more; to the end of the value.
    (
        re.compile(
            r"(\b[\w-]{0,40}(?:api[_-]?key|password|passwd|secret|token|secret[_-]key|session(?:id)?|csrftoken|ticket)\d?)"
            r"(\\*[\"']?\s{0,9}(?:[=:]|%3[Dd])\s{0,9})"
            r"(?:\\+\"[^\"]*+\"?|\"(?:[^\"\\]++|\\[\s\S])*+\"?|\\*'(?:[^'\\]++|\\[\s\S])*+'?|[^\s,;&)\]}\"']+)",
            re.IGNORECASE,
        ),
        r"\1\2" + HIDDEN,
    ),
    # user:password@ in addresses
    (re.compile(r"(://[^/@:\s]*:)[^/@\s]+@"), r"\1" + HIDDEN + "@"),
)
# A query parameter whose name is partly percent-encoded: `t%6fken=…`. The decoded name decides whether it is a credential.
_ENCODED = re.compile(r"(?<![\w.%\[\]-])((?:[\w.\[\]-]|%[0-9A-Fa-f]{2}){1,120})(=|%3[Dd])([^\s&;#\"'<>]{1,4096})")
# The middle of a longer value is cut, to bound the time that the patterns take.
MAX_TEXT = 16_000


def text(value: str) -> str:
    """The text with everything that looks like a secret redacted."""
    if len(value) > MAX_TEXT:
        value = f"{value[: MAX_TEXT // 2]}… ({len(value)} characters) …{value[-MAX_TEXT // 2 :]}"
    if "%" in value:
        value = _ENCODED.sub(_without_encoded, value)
    if not _QUICK.search(value):
        return value
    for pattern, replacement in _PATTERNS:
        value = pattern.sub(replacement, value)
    return value


def _without_encoded(match: re.Match[str]) -> str:
    name, sign, inner = match.groups()
    hidden = "%" in name and url_secrets.is_secret_name(name)
    if not hidden and "%" in inner:  # the value may contain a whole query, encoded once more
        plain = url_secrets.decoded(inner)
        hidden = text(plain) != plain
    return f"{name}{sign}{HIDDEN}" if hidden else match[0]


def value(item: Any, name: str = "", depth: int = 0) -> Any:
    """A log value with secrets redacted: in strings, in nested containers, and in fields with a secret's name."""
    if name and item not in (None, "") and name not in _HARMLESS and _NAMES.search(name):
        return HIDDEN
    if isinstance(item, str):
        return text(item)
    if item is None or isinstance(item, int | float | bool):
        return item
    if depth > 6:
        return "…"
    if isinstance(item, dict):
        return {text(str(key)): value(inner, str(key), depth + 1) for key, inner in item.items()}
    if isinstance(item, list | tuple | set | frozenset):
        return [value(inner, "", depth + 1) for inner in item]
    if isinstance(item, bytes):
        return text(item[:MAX_TEXT].decode("utf-8", "replace"))
    return text(str(item))
