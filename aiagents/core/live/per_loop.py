"""One object for each event loop: what tasks of one loop share may not be used on another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """`here()` makes the loop's object at its first use. It goes with its loop."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._found: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def here(self) -> T:
        """The running loop's object."""
        loop = asyncio.get_running_loop()
        if (found := self._found.get(loop)) is None:
            found = self._found[loop] = self._make()
        return found

    def all(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """The objects of all loops of this process. May be called from any thread."""
        return list(self._found.items())
