"""A real hasher that counts: whether a hash was computed is a fact, how long it took is weather."""

from __future__ import annotations

from typing import Any

from aiagents.core.testing import FastBCryptHasher


class CountingHasher(FastBCryptHasher):
    hashed = 0

    def encode(self, *args: Any, **kwargs: Any) -> str:
        CountingHasher.hashed += 1
        return super().encode(*args, **kwargs)
