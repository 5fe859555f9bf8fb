"""Limits on the number of values and the depth of a JSON text, checked on its bytes before they are parsed.

Each step is one call of a compiled method on at most `CHUNK` bytes, so that other threads run in between. Python code
iterates over brackets only, and only after their number is known to be small.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiagents.core.errors import InvalidRequest, PayloadTooLarge

CHUNK = 1024 * 1024
# The bytes that are removed: all but quotes and the characters that separate or nest values.
_DROPPED = bytes(set(range(256)) - set(b'"{}[],'))


def check(raw: bytes, most_values: int, most_depth: int) -> None:
    """Raise PayloadTooLarge (413) for more values than `most_values`, InvalidRequest (400) for deeper nesting than `most_depth`.

    Text that is not JSON may pass: the parser refuses it before it reads more values than were counted here.
    """
    # This also counts characters inside strings: an upper bound that is enough for nearly every request.
    opened = raw.count(b"[") + raw.count(b"{")
    if opened <= most_depth and (len(raw) <= most_values or opened + raw.count(b",") <= most_values):
        return
    marks: list[bytes] = []
    quotes = separators = unclosed = 0
    for piece in split_into_pieces(raw):
        left = piece.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in piece else piece
        left = left.translate(None, _DROPPED)
        inside_string = quotes % 2
        quotes += left.count(b'"')
        # A value is at most two strings, itself and its name; each string has two quotes.
        if quotes > 4 * (most_values + 1):
            raise _too_many(most_values)
        outside = b"".join(left.split(b'"')[inside_string::2])
        opened = outside.count(b"[") + outside.count(b"{")
        separators += opened + outside.count(b",")
        if separators > most_values:
            raise _too_many(most_values)
        unclosed += opened - outside.count(b"]") - outside.count(b"}")
        if unclosed < 0:
            raise InvalidRequest("The body is not valid JSON.", code="invalid_json")
        marks.append(outside.translate(None, b","))
    _check_depth(b"".join(marks), most_depth)


def split_into_pieces(raw: bytes) -> Iterator[bytes]:
    """The text in pieces; none ends between a backslash and the character that it escapes."""
    at = 0
    while at < len(raw):
        piece = raw[at : at + CHUNK]
        backslashes = len(piece) - len(piece.rstrip(b"\\"))
        if backslashes % 2 and len(piece) > 1 and at + len(piece) < len(raw):
            piece = piece[:-1]
        at += len(piece)
        yield piece


def _check_depth(brackets: bytes, most: int) -> None:
    depth = 0
    for bracket in brackets:
        if bracket in b"[{":
            depth += 1
            if depth > most:
                raise InvalidRequest(f"The JSON is nested deeper than {most} levels.", code="json_too_deep")
        else:
            depth -= 1


def _too_many(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The JSON holds more than {most:,} values.", code="too_many_values", details={"max_values": most})
