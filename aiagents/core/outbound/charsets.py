"""Decoding of untrusted bytes by their declared charset, if it is a real character encoding.

Python has other codecs as well (punycode takes minutes for a megabyte), so the accepted ones are listed.
"""

from __future__ import annotations

import codecs

_KNOWN = frozenset({
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii", *(f"iso8859-{part}" for part in range(1, 17)),
    *(f"cp125{part}" for part in range(9)), "cp437", "cp850", "cp852", "cp866", "cp874", "cp932", "cp949", "koi8-r", "koi8-u",
    "mac-roman", "mac-cyrillic", "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "shift_jis", "euc_jp", "iso2022_jp", "euc_kr", "tis-620",
})  # fmt: skip


def decode(body: bytes, charset: str = "") -> str:
    """The text; decoded as UTF-8 if the charset is unknown or empty. Invalid bytes are replaced."""
    try:
        name = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        name = "utf-8"
    return body.decode(name if name in _KNOWN else "utf-8", "replace")
