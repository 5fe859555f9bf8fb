"""Deterministic vectors of unit length. Equal texts have equal vectors."""

from __future__ import annotations

import base64
import hashlib
import struct

# Dimensions of the vendors' models; unknown models have short vectors.
SIZES = {
    "text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536,
    "gemini-embedding-001": 3072, "gemini-embedding-2": 3072,
}  # fmt: skip
USUAL = 8


def of(text: str, size: int) -> list[float]:
    raw = hashlib.shake_256(text.encode("utf-8", "replace")).digest(2 * size)
    numbers = [value / 32768 for value in struct.unpack(f"<{size}h", raw)]
    length = sum(value * value for value in numbers) ** 0.5 or 1.0
    return [value / length for value in numbers]


def packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
