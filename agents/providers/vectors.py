"""Vectors as they travel through the product: little-endian 32-bit floats, which is what every vendor computes with."""

from __future__ import annotations

import base64
import sys
from array import array
from math import isfinite, sqrt
from typing import Any

# Above any model's: OpenAI's largest have 3,072.
_MOST_DIMENSIONS = 65_536
_SWAPPED = sys.byteorder == "big"


def read(value: Any) -> bytes:
    """A vendor's vector, base64 or a list of numbers. ValueError or TypeError for what is none."""
    packed = base64.b64decode(value, validate=True) if isinstance(value, str) else pack(value)
    if not packed or len(packed) % 4 or len(packed) > 4 * _MOST_DIMENSIONS:
        raise ValueError("the vector has no length that a vector may have")
    if not isfinite(sum(_array(packed))):  # one infinity or NaN among them makes the sum one
        raise ValueError("the vector is not finite")
    return packed


def pack(numbers: list[float]) -> bytes:
    found = array("f", numbers)
    if _SWAPPED:
        found.byteswap()
    return found.tobytes()


def numbers(packed: bytes) -> list[float]:
    """As JSON writes them."""
    return _array(packed).tolist()


def unit(packed: bytes) -> bytes:
    """The same direction, with the length 1."""
    found = _array(packed)
    length = sqrt(sum(value * value for value in found))
    return packed if length == 0 or abs(length - 1) < 1e-3 else pack([value / length for value in found])


def _array(packed: bytes) -> array[float]:
    found = array("f")
    found.frombytes(packed)
    if _SWAPPED:
        found.byteswap()
    return found
