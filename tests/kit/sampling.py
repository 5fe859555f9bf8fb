"""How much the generated tests make up: a fixed sample in every run, everything with SOAK=1 (`make test-soak`)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SOAK = bool(os.environ.get("SOAK"))


def examples(few: int, many: int) -> int:
    """How many examples Hypothesis makes."""
    return many if SOAK else few


def sample(named: Iterable[tuple[str, T]], one_in: int, salt: object = "") -> Iterator[tuple[str, T]]:
    """One in so many of the cases, chosen by name and salt: the same in every run, others for another salt."""
    for name, case in named:
        if SOAK or zlib.crc32(f"{salt} {name}".encode()) % one_in == 0:
            yield name, case
