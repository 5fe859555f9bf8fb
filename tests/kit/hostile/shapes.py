"""Bodies that are dear to read: each of any size, each of another kind of work. None is a request that an endpoint takes."""

from __future__ import annotations

from collections.abc import Callable

Shape = Callable[[int], bytes]


def _filled(opening: bytes, piece: bytes, closing: bytes) -> Shape:
    """`piece` as often as it fits between the two."""

    def made(size: int) -> bytes:
        return opening + piece * ((size - len(opening) - len(closing)) // len(piece)) + closing

    return made


def _in_messages(piece: bytes) -> Shape:
    """A list under `messages`, as a chat completion has it."""
    return _filled(b'{"model":"gpt-4o-mini","messages":[', piece + b",", piece + b"]}")


def _text(piece: bytes) -> Shape:
    """One long text under a name that no endpoint knows: it is read, and then refused."""
    return _filled(b'{"hostile":"', piece, b'"}')


def _keys(size: int) -> bytes:
    keys = b",".join(b'"%07d":0' % number for number in range((size - 2) // 12))
    return b"{" + keys + b"}"


def _nested_objects(size: int) -> bytes:
    count = (size - 1) // 6
    return b'{"a":' * count + b"1" + b"}" * count


def _brackets_in_text(size: int) -> bytes:
    """A text full of brackets, after as many escaped quotes: a scan that loses count takes them for structure."""
    return _filled(b'{"hostile":"\\"', b'[{\\\\\\"', b'"}')(size)


SHAPES: dict[str, Shape] = {
    "empty lists in a list": _in_messages(b"[]"),
    "empty objects in a list": _in_messages(b"{}"),
    "objects of one member": _in_messages(b'{"a":1}'),
    "empty texts": _in_messages(b'""'),
    "nulls": _in_messages(b"null"),
    "one-digit numbers": _in_messages(b"1"),
    "fractions": _in_messages(b"0.1"),
    "numbers of 4,000 digits": _in_messages(b"9" * 4000),
    "exponents": _in_messages(b"1e300"),
    "one number of all digits": _filled(b'{"hostile":', b"9", b"}"),
    "one fraction of all digits": _filled(b'{"hostile":0.', b"9", b"}"),
    "all keys different": _keys,
    "one key again and again": _filled(b"{", b'"a":0,', b'"a":0}'),
    "lists in lists": lambda size: b'{"a":' + b"[" * (size // 2 - 3) + b"]" * (size // 2 - 3) + b"}",
    "objects in objects": _nested_objects,
    "only opened": _filled(b'{"a":', b"[", b""),
    "only closed": _filled(b'{"a":1', b"]", b"}"),
    "only quotes": _filled(b"", b'"', b""),
    "only commas": _filled(b"[", b",", b"]"),
    "only spaces": _filled(b"", b" ", b""),
    "text of backslashes": _text(b"\\\\"),
    "text of escaped quotes": _text(b'\\"'),
    "text of commas": _text(b","),
    "text of brackets and quotes": _brackets_in_text,
    "text of escapes": _text(b"\\u00e9"),
    "text of escaped pairs": _text(b"\\ud83d\\ude00"),
    "text of lone halves": _text(b"\\ud83d"),
    "text of emoji": _text("\U0001f600".encode()),
    "text of letters": _text(b"QUJD"),
    "bytes that are no text": _text(b"\xff"),
    "zero bytes": _filled(b"", b"\x00", b""),
}
