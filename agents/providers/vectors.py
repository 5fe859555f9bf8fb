"""Vectors as packed bytes: little-endian 32-bit floats, the precision of every vendor."""

from __future__ import annotations

import base64
import sys
from array import array
from math import isfinite, sqrt
from typing import Any

# Above every model: OpenAI's largest vectors have 3,072 dimensions.
_MOST_DIMENSIONS = 65_536
_SWAPPED = sys.byteorder == "big"


def read(value: Any) -> bytes:
    """Return a vendor's vector, base64 or a list of numbers, as packed bytes. Raises ValueError or TypeError."""
    packed = base64.b64decode(value, validate=True) if isinstance(value, str) else pack(value)
    if not packed or len(packed) % 4 or len(packed) > 4 * _MOST_DIMENSIONS:
        raise ValueError("the vector's length is not valid")
    if not isfinite(sum(_array(packed))):  # one infinity or NaN among them makes the sum one
        raise ValueError("the vector has a number that is not finite")
    return packed


def pack(numbers: list[float]) -> bytes:
    found = array("f", numbers)
    if _SWAPPED:
        found.byteswap()
    return found.tobytes()


def numbers(packed: bytes) -> list[float]:
    """Return the vector's numbers."""
    return _array(packed).tolist()


def unit(packed: bytes) -> bytes:
    """Return the vector scaled to the length 1."""
    found = _array(packed)
    length = sqrt(sum(value * value for value in found))
    return packed if length == 0 or abs(length - 1) < 1e-3 else pack([value / length for value in found])


def _array(packed: bytes) -> array[float]:
    found = array("f")
    found.frombytes(packed)
    if _SWAPPED:
        found.byteswap()
    return found
