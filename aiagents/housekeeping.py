"""Sweeps of a web process, at its start and every ten seconds: end what dead processes left behind.

Celery beat does the same every ten seconds; an installation without a worker is swept all the same.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from agents.runs import sweep as run_sweep
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from billing.ledger import service as ledger
from chat.turns import service as turns

logger = logging.getLogger(__name__)
SWEEP_EVERY = 10.0
_sweepers: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()


def begin() -> None:
    """Sweep on the running event loop from now on; calling it again does nothing."""
    loop = asyncio.get_running_loop()
    if loop not in _sweepers:
        _sweepers[loop] = loop.create_task(_sweep(), name="housekeeping")


async def _sweep() -> None:
    while True:
        try:
            await in_db(ledger.sweep)
            await in_db(run_sweep.sweep)
            await in_db(turns.sweep)
        except Unavailable:
            logger.warning("sweep_waits_for_database")
        except Exception:
            logger.exception("sweep_failed")
        await asyncio.sleep(SWEEP_EVERY)
