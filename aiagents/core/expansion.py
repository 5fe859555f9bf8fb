"""Template expansion with a bounded result.

Small inputs can make a huge text: twenty thousand placeholders of one long value. So the length is computed first, and
no text beyond the limit is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.conf import settings

from aiagents.core.errors import InvalidRequest


class TooLong(InvalidRequest):
    """`details` holds the limit, in characters."""

    code = "expansion_too_long"
    message = "The text would be too long after its placeholders are filled."


def filled(pattern: re.Pattern[str], text: str, value_of: Callable[[str], str | None], most: int | None = None) -> str:
    """The text with each match replaced by `value_of(group 1)`; None keeps the match. Values are not expanded again.

    `value_of` is called once for each name. Raises TooLong, before it builds the text, when the result would have more than
    `most` characters (MAX_EXPANDED_CHARACTERS by default).
    """
    most = settings.MAX_EXPANDED_CHARACTERS if most is None else most
    values: dict[str, str | None] = {}
    length = len(text)
    for match in pattern.finditer(text):
        name = match[1]
        if name not in values:
            values[name] = value_of(name)
        value = values[name]
        if value is not None:
            length += len(value) - len(match[0])
    if length > most:
        raise TooLong(details={"max_characters": most})
    return pattern.sub(lambda match: found if (found := values[match[1]]) is not None else match[0], text) if values else text


def characters(value: object) -> int:
    """At least the number of characters of a value as compact JSON, without serializing it; escapes are not counted."""
    if isinstance(value, str):
        return len(value) + 4
    if isinstance(value, dict):
        return sum(characters(name) + characters(one) for name, one in value.items()) + 2
    if isinstance(value, list | tuple):
        return sum(characters(one) + 1 for one in value) + 2
    if isinstance(value, int):  # a digit takes more than three bits
        return value.bit_length() // 3 + 6
    return 32


def cut(text: str, most: int) -> str:
    """The text, truncated with `…` to `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
