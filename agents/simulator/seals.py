"""Signatures of the simulated models: a vendor knows its own again and refuses any other."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

_SIZE = 12


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(b"simulated" + data).digest()[:_SIZE]


def seal(text: str) -> str:
    """Return the signature of a text, as base64. Equal texts have equal signatures."""
    content = _digest(text.encode("utf-8", "surrogatepass"))
    return base64.b64encode(content + _digest(content)).decode()


def is_seal(value: object) -> bool:
    """Return whether `seal` made this signature."""
    try:
        found = base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(found) == 2 * _SIZE and found[_SIZE:] == _digest(found[:_SIZE])


def signature(call: dict[str, Any]) -> str:
    """Return the signature of a function call, by its name and arguments."""
    return seal(json.dumps([call.get("name"), call.get("args")], sort_keys=True))
