"""The simulator in a separate thread, for synchronous tests."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

from agents.simulator.server import Simulator


class SimulatorThread(Simulator):
    """A Simulator for `with SimulatorThread() as sim:`. Any thread may read its attributes and plan answers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
